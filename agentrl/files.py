"""Writes files whole or not at all; reads JSON; hashes content."""

from __future__ import annotations

from collections.abc import Iterable
import hashlib
import json
import os
import pathlib
from typing import Any
import uuid

Path = str | os.PathLike


def write_bytes(path: Path, data: bytes) -> None:
  """Writes a file under a unique temporary name, then renames it."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'{path.name}.{uuid.uuid4().hex[:8]}.tmp')
  try:
    temporary.write_bytes(data)
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
  write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
  """Writes JSON for people and programs: indented, keys as given."""
  write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + '\n')


def write_lines(path: Path, records: Iterable[str]) -> None:
  """Writes one record a line."""
  write_text(path, ''.join(record + '\n' for record in records))


def read_json(path: Path) -> Any:
  """Reads JSON.

  Raises:
    ValueError: the file is absent or broken.
  """
  path = pathlib.Path(path)
  try:
    return json.loads(path.read_text())
  except FileNotFoundError as e:
    raise ValueError(f'There is no {path}: has the stage that writes it '
                     'finished?') from e
  except (UnicodeDecodeError, ValueError) as e:
    raise ValueError(f'{path} is not JSON ({e}): get it again, or delete it '
                     'and run its stage again.') from e


def hash_text(text: str) -> str:
  """Returns the first 16 hex digits of the SHA-256 of a text."""
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
  """Returns the first 16 hex digits of the SHA-256 of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()[:16]
