"""Writes and reads the metrics of a training run: `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
import json
import math
import pathlib
from typing import Any

from agentrl import files


class MetricsWriter:
  """Appends metrics to `metrics.jsonl`, one line a step.

  A run that is resumed at step n drops the lines from n on, so the file reads
  as if the run had never been stopped.

  Args:
    folder: folder of the run.
    step: first step that will be written.
  """

  def __init__(self, folder: files.Path, step: int = 0):
    self._path = pathlib.Path(folder) / 'metrics.jsonl'
    kept = [r for r in read(folder) if r['step'] < step]
    files.write_lines(self._path, map(json.dumps, kept))
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


def read(folder: files.Path) -> list[dict[str, Any]]:
  """Reads `metrics.jsonl`; leaves out a last line that was cut off by a kill.

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
