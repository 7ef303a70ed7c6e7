"""Keeps databases as files named by the hash of their content.

`Task.database` names the database that a task starts from. A data stage keeps
them in its folder `databases`, which the option `databases` of an environment
names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
import functools
import json
import pathlib
from typing import Any

from agentrl import files

FOLDER = 'databases'  # inside the folder of a data stage


def digest(tables: Mapping[str, Any]) -> str:
  """Returns the name of a database: the hash of its file.

  Raises:
    ValueError: read back from its file it would differ.
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
  # Keys keep their order: tools may list records in it.
  return json.dumps(tables, separators=(',', ':'))


def write(folder: pathlib.Path, name: str, tables: Mapping[str, Any]) -> None:
  """Writes a database under its digest, unless its file exists."""
  path = folder / f'{name}.json'
  if not path.exists():
    files.write_text(path, _text(tables))


@functools.lru_cache(maxsize=256)
def find(folder: str, name: str) -> pathlib.Path:
  """Returns the file of a digest; its content is checked once a process.

  Raises:
    ValueError: there is no such file, or its content has another hash.
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
  """Returns the database of a digest, parsed once; callers must not change it.

  Raises:
    ValueError: see `find`.
  """
  return files.read_json(find(folder, name))


def prune(folder: pathlib.Path, names: Collection[str]) -> None:
  """Removes all databases but those of these names."""
  for path in folder.glob('*'):
    if path.stem not in names:
      path.unlink()
