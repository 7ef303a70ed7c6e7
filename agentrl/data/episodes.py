"""The dialogues of a data set: a TFDS builder over ArrayRecord, and a reader.

The folder of the data stage holds them in `episodes/`, and beside it the tasks
as JSON lines, `tasks_train.jsonl` and `tasks_test.jsonl`. What is read is
checked against the hashes in the manifest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import json
import os
import pathlib
import shutil
from typing import Any

import tensorflow_datasets as tfds

from agentrl import runs
from agentrl import types

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
          ) -> dict[str, str]:
  """Writes `folder/episodes`, whole or not at all.

  Returns:
    relative path -> hash of each file, for the manifest.
  """
  folder = pathlib.Path(folder)
  target, temporary = folder / FOLDER, folder / (FOLDER + '.tmp')
  shutil.rmtree(temporary, ignore_errors=True)
  builder = Episodes(records, data_dir=temporary)
  builder.download_and_prepare(download_config=tfds.download.DownloadConfig(
      try_download_gcs=False))
  shutil.rmtree(target, ignore_errors=True)
  pathlib.Path(builder.data_path).rename(target)
  shutil.rmtree(temporary)
  return {f'{FOLDER}/{p.name}': runs.file_digest(p)
          for p in sorted(target.iterdir())}


def read(folder: str | os.PathLike, field: str = 'data'
         ) -> Iterator[tuple[types.Task, tuple[types.Message, ...]]]:
  """(task, messages) of each dialogue, in the order they were written.

  Args:
    folder: of the data stage.
    field: the config field that names it, for errors.

  Raises:
    ValueError: the stage has not finished, or a file is not what it wrote.
  """
  check(folder, FOLDER + '/', field)
  builder = tfds.builder_from_directory(pathlib.Path(folder) / FOLDER)
  for found in builder.as_data_source('train'):
    messages = json.loads(found['messages'])
    yield (types.task_from_json(json.loads(found['task'])),
           tuple(map(types.message_from_json, messages)))


def check(folder: str | os.PathLike, prefix: str, field: str = 'data') -> None:
  """Raises ValueError unless the files that start so are as they were made."""
  made = runs.manifest(folder, field)['made']
  named = {name: digest for name, digest in made.items()
           if name.startswith(prefix)}
  if not named:
    raise ValueError(f'config.{field}={str(folder)!r} lists no {prefix!r} in '
                     'its manifest: is it the folder of the data stage?')
  for name, digest in named.items():
    path = pathlib.Path(folder) / name
    if not path.is_file():
      raise ValueError(f'{path} is gone: run the data stage again in a new '
                       'folder.')
    if runs.file_digest(path) != digest:
      raise ValueError(f'{path} is corrupt: its hash is not the one in '
                       'manifest.json. Copy it again, or run the data stage '
                       'again in a new folder.')
