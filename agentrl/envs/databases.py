"""Databases as files under the hash of their content.

A task names the one that it starts from in `Task.database`. A data stage
keeps them in its folder `databases`, where the option `databases` of an
environment finds them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
import functools
import json
import pathlib
from typing import Any

from agentrl import files

FOLDER = 'databases'  # of a data stage


def digest(tables: Mapping[str, Any]) -> str:
  """The name of a database: the hash of its file.

  Raises:
    ValueError: a file would not give the same back.
  """
  try:
    text = _text(tables)
    same = json.loads(text) == tables
  except (TypeError, ValueError) as e:
    raise ValueError(f'A database must be plain JSON: {e}.') from e
  if not same:
    raise ValueError('A database must be plain JSON, but from its file this '
                     'one would come back changed: let it have lists in place '
                     'of tuples, texts as keys, and no NaN.')
  return files.hash_text(text)


def _text(tables: Mapping[str, Any]) -> str:
  """Keys keep their order: tools may list records in it."""
  return json.dumps(tables, separators=(',', ':'))


def write(folder: pathlib.Path, name: str, tables: Mapping[str, Any]) -> None:
  """Writes a database under its digest, unless it is there."""
  path = folder / f'{name}.json'
  if not path.exists():
    files.write_text(path, _text(tables))


@functools.lru_cache(maxsize=256)
def find(folder: str, name: str) -> pathlib.Path:
  """The file of a digest, looked at once.

  Raises:
    ValueError: it is not there, or is another.
  """
  path = next((p for p in pathlib.Path(folder).glob(f'{name}.*')
               if p.suffix != '.tmp'), None)
  if not folder or path is None:
    raise ValueError(
        f'A task starts from the database {name}, which is not in {folder!r}: '
        'set config.env.databases to the folder `databases` of the data stage '
        'that brought the task.')
  if files.file_digest(path) != name:
    raise ValueError(f'{path} is corrupt: its hash is not its name. Copy it '
                     'again.')
  return path


@functools.lru_cache(maxsize=256)
def read(folder: str, name: str) -> Mapping[str, Any]:
  """The database of a digest, parsed once; nobody may change it.

  Raises:
    ValueError: see `find`.
  """
  return files.read_json(find(folder, name))


def prune(folder: pathlib.Path, names: Collection[str]) -> None:
  """Removes all databases but these."""
  for path in folder.glob('*'):
    if path.stem not in names:
      path.unlink()
