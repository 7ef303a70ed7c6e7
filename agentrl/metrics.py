"""Files that are never half-written: JSON, and metrics as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import json
import math
import os
import pathlib
from typing import Any
import uuid

Path = str | os.PathLike


def write_bytes(path: Path, data: bytes) -> None:
  """Writes under a temporary name of its own, then renames."""
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


class Writer:
  """Appends metrics to `metrics.jsonl`, one line a step.

  A run that goes on from step n drops the lines from n on, so the file reads
  as if it had never been stopped.
  """

  def __init__(self, folder: Path, step: int = 0):
    self._path = pathlib.Path(folder) / 'metrics.jsonl'
    kept = [r for r in read(folder) if r['step'] < step]
    write_lines(self._path, map(json.dumps, kept))
    self._file = self._path.open('a')

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Writes one line; NaN and infinity become null, as JSON has neither."""
    record = {'step': step, **{k: _plain(v) for k, v in values.items()}}
    self._file.write(json.dumps(record) + '\n')
    self._file.flush()

  def close(self) -> None:
    self._file.close()


def _plain(value: Any) -> Any:
  if isinstance(value, (str, bool)):
    return value
  number = value if isinstance(value, int) else float(value)
  return number if math.isfinite(number) else None


def read(folder: Path) -> list[dict[str, Any]]:
  """The records of `metrics.jsonl`; a last line cut off by a kill is left out.

  Raises:
    ValueError: any other line is broken.
  """
  path = pathlib.Path(folder) / 'metrics.jsonl'
  if not path.exists():
    return []
  whole = path.read_text().split('\n')[:-1]
  try:
    return [json.loads(line) for line in whole]
  except ValueError as e:
    raise ValueError(f'{path} is broken ({e}): delete it; the run goes on '
                     'from its checkpoint.') from e
