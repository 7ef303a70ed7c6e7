"""The dialogues of a data set: a TFDS builder over ArrayRecord, and a reader.

The folder of the data stage holds them in `episodes/`, and beside it the tasks
as JSON lines, `tasks_train.jsonl` and `tasks_test.jsonl`. What is read is
checked against the hashes in the manifest first.
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
from agentrl import resolve
from agentrl import types
from agentrl.envs import env as env_lib
from agentrl.envs import replay
from agentrl.stage import runs

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
  """One dialogue as it is stored; `info` is any JSON about how it was made."""
  return {'id': task.id, 'task': types.dumps(task),
          'messages': types.dumps(list(messages)),
          'info': types.dumps(info)}


def write(folder: str | os.PathLike, records: Iterable[Record]
          ) -> tuple[str, dict[str, str]]:
  """Writes `folder/episodes`, whole or not at all.

  Returns:
    hash of the records, the same for the same dialogues, which the bytes of
    the shards are not; and relative path -> hash of each file.
  """
  folder = pathlib.Path(folder)
  target, temporary = folder / FOLDER, folder / (FOLDER + '.tmp')
  shutil.rmtree(temporary, ignore_errors=True)
  tfds.disable_progress_bar()
  content = hashlib.sha256()
  builder = Episodes(_hashed(records, content), data_dir=temporary)
  with contextlib.redirect_stdout(None):  # it talks of downloads
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False))
  shutil.rmtree(target, ignore_errors=True)
  pathlib.Path(builder.data_path).rename(target)
  shutil.rmtree(temporary)
  return content.hexdigest()[:16], {
      f'{FOLDER}/{p.name}': files.file_digest(p)
      for p in sorted(target.iterdir())}


def _hashed(records: Iterable[Record], content: Any) -> Iterator[Record]:
  """The records, which are added to the hash `content` as they pass."""
  for one in records:
    content.update(types.dumps(one).encode())
    yield one


def read(folder: str | os.PathLike, field: str = 'data'
         ) -> Iterator[tuple[types.Task, tuple[types.Message, ...]]]:
  """(task, messages) of each dialogue, in the order they were written.

  Args:
    folder: of the data stage.
    field: the config field that names it, for errors.

  Raises:
    ValueError: the stage has not finished, or a file is not what it wrote.
  """
  check(folder, field)
  builder = tfds.builder_from_directory(pathlib.Path(folder) / FOLDER)
  for found in builder.as_data_source('train'):
    messages = json.loads(found['messages'])
    yield (types.task_from_json(json.loads(found['task'])),
           tuple(map(types.message_from_json, messages)))


def tasks(folder: str | os.PathLike, split: str, field: str = 'data'
          ) -> list[types.Task]:
  """The tasks of a split, `train` or `test`.

  Raises:
    ValueError: the stage has not finished, has no such split, or the file is
      not what it wrote.
  """
  name = f'tasks_{split}.jsonl'
  made = runs.manifest(folder, field)['made']
  if name not in made:
    raise ValueError(f'config.{field}={str(folder)!r} has no {name}.'
                     + resolve.hint(name, made))
  path = pathlib.Path(folder) / name
  _same(path, made[name])
  return [types.task_from_json(json.loads(line))
          for line in path.read_text().splitlines()]


def verify(env: env_lib.Env, tasks: Iterable[types.Task]) -> None:
  """Replays the gold run of each task that carries one.

  For tasks that were certified in another version of the environment: an
  error here is better than a task that nobody can solve.

  Raises:
    ValueError: a gold run does not earn 1.
  """
  for task in tasks:
    if 'gold' not in task.meta:
      continue
    moves = list(map(types.message_from_json, task.meta['gold']))
    world, played = replay.replay(env, task, moves)
    score = env.score(task, world, played, 'user_stop')
    if score.reward != 1:
      wrong = score.error or [c for c, ok in score.clauses.items() if not ok]
      raise ValueError(
          f'The gold run of task {task.id} fails ({wrong}): its domain or its '
          'checker is not the one that it was certified with. Run the data '
          'stage again.')


def check(folder: str | os.PathLike, field: str = 'data') -> None:
  """Raises ValueError unless the files of the dialogues are as written."""
  digests = runs.manifest(folder, field).get('files')
  if not digests:
    raise ValueError(f'config.{field}={str(folder)!r} holds no dialogues: give '
                     'the folder of a data stage.')
  for name, digest in digests.items():
    _same(pathlib.Path(folder) / name, digest)


def _same(path: pathlib.Path, digest: str) -> None:
  """Raises ValueError unless a file has that hash."""
  if not path.is_file():
    raise ValueError(f'{path} is gone: run the data stage again in a new '
                     'folder.')
  if files.file_digest(path) != digest:
    raise ValueError(f'{path} is corrupt: its hash is not the one in '
                     'manifest.json. Copy it again, or run the data stage '
                     'again in a new folder.')
