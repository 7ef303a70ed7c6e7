"""Writes and reads the dialogues of a data set: TFDS over ArrayRecord.

The folder of the data stage holds them in `episodes/`, and beside it the tasks
as JSON lines, `tasks_train.jsonl` and `tasks_test.jsonl`. Files are checked
against the hashes in the manifest before they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import tensorflow_datasets as tfds

from agentrl import files
from agentrl import jsons
from agentrl import resolve
from agentrl import types
from agentrl.envs import env as env_lib
from agentrl.envs import replay
from agentrl.stage import inputs

FOLDER = 'episodes'
Record = Mapping[str, Any]


class Episodes(tfds.core.GeneratorBasedBuilder):
  """Dialogues with their tasks, as JSON texts; one split, `train`."""

  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, records: Iterable[Record] = (), **kwargs: Any):
    self._records = records
    super().__init__(file_format='array_record', **kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text
    return tfds.core.DatasetInfo(
        builder=self, disable_shuffling=True,  # in the order of the engine
        features=tfds.features.FeaturesDict(
            {'id': text(), 'task': text(), 'messages': text(),
             'info': text()}))

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    del dl_manager  # nothing is downloaded
    return {'train': self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, Record]]:
    yield from enumerate(self._records)


def record(task: types.Task, messages: Iterable[types.Message],
           info: Mapping[str, Any]) -> Record:
  """Returns the stored form of a dialogue.

  Args:
    task: its task.
    messages: its messages, with true roles.
    info: any JSON about how it was made.
  """
  return {'id': task.id, 'task': jsons.dumps(task),
          'messages': jsons.dumps(list(messages)),
          'info': jsons.dumps(info)}


def write(folder: str | os.PathLike, records: Iterable[Record]
          ) -> tuple[str, dict[str, str]]:
  """Writes `folder/episodes`, whole or not at all.

  Returns:
    hash of the records, equal for equal dialogues (the bytes of the shards are
    not); and relative path -> hash of each file.
  """
  folder = pathlib.Path(folder)
  target, temporary = folder / FOLDER, folder / (FOLDER + '.tmp')
  shutil.rmtree(temporary, ignore_errors=True)
  tfds.disable_progress_bar()
  content = hashlib.sha256()
  builder = Episodes(_hashed(records, content), data_dir=temporary)
  with contextlib.redirect_stdout(None):  # it prints about downloads
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False))
  shutil.rmtree(target, ignore_errors=True)
  pathlib.Path(builder.data_path).rename(target)
  shutil.rmtree(temporary)
  return content.hexdigest()[:16], {
      f'{FOLDER}/{p.name}': files.file_digest(p)
      for p in sorted(target.iterdir())}


def _hashed(records: Iterable[Record], content: Any) -> Iterator[Record]:
  """Yields the records, and adds each to the hash `content`."""
  for each in records:
    content.update(jsons.dumps(each).encode())
    yield each


def read(data: str | os.PathLike | inputs.Input, field: str = 'data'
         ) -> Iterator[tuple[types.Task, tuple[types.Message, ...]]]:
  """Yields (task, messages) of each dialogue, in the order of writing.

  Args:
    data: folder of the data stage, or the resolved input.
    field: the config field that names it, for errors.

  Raises:
    ValueError: the stage has not finished, or a file has changed since.
  """
  source = inputs.resolve(data, field)
  check(source)
  builder = tfds.builder_from_directory(source.path / FOLDER)
  for stored in builder.as_data_source('train'):
    messages = json.loads(stored['messages'])
    yield (jsons.from_json(types.Task, json.loads(stored['task'])),
           jsons.all_from_json(types.Message, messages))


def tasks(data: str | os.PathLike | inputs.Input, split: str,
          field: str = 'data') -> list[types.Task]:
  """Reads the tasks of a split.

  Args:
    data: folder of the data stage, or the resolved input.
    split: `train` or `test`.
    field: the config field that names it, for errors.

  Raises:
    ValueError: the stage has not finished, has no such split, or the file has
      changed since.
  """
  name = f'tasks_{split}.jsonl'
  source = inputs.resolve(data, field)
  made = source.manifest['made']
  if name not in made:
    raise ValueError(f'{source.label} has no {name}.'
                     + resolve.hint(name, made))
  path = source.path / name
  _same(path, made[name])
  return [jsons.from_json(types.Task, json.loads(line))
          for line in path.read_text().splitlines()]


def verify(env: env_lib.Env, tasks: Iterable[types.Task]) -> None:
  """Replays the gold run of each task that has one.

  Finds tasks that were certified in another version of the environment and
  may be unsolvable in this one. A gold run whose verdict needs a judge that is
  not configured cannot be checked.

  Raises:
    ValueError: a gold run does not earn 1.
  """
  for task in tasks:
    if task.gold is None:
      continue
    world, played = replay.replay(env, task, task.gold.moves)
    score = env.score(task, world, played, 'user_stop')
    if score.reward != 1 and not score.unjudged:
      wrong = score.error or [c for c, ok in score.clauses.items() if not ok]
      raise ValueError(
          f'The gold run of task {task.id} fails ({wrong}): its domain or its '
          'checker is not the one that it was certified with. Run the data '
          'stage again.')


def check(source: inputs.Input) -> None:
  """Raises ValueError unless the files of the dialogues are as written."""
  digests = source.manifest.get('files')
  if not digests:
    raise ValueError(f'{source.label} holds no dialogues: give the folder of a '
                     'data stage.')
  for name, digest in digests.items():
    _same(source.path / name, digest)


def _same(path: pathlib.Path, digest: str) -> None:
  """Raises ValueError unless a file has that hash."""
  if not path.is_file():
    raise ValueError(f'{path} is gone: run the data stage again in a new '
                     'folder.')
  if files.file_digest(path) != digest:
    raise ValueError(f'{path} is corrupt: its hash is not the one in '
                     'manifest.json. Copy it again, or run the data stage '
                     'again in a new folder.')
