"""The exception by which every part of the engine turns a sample down."""

from __future__ import annotations

from collections.abc import Iterable

from agentrl import types


class SampleRejected(Exception):
  """A sample is not kept.

  Args:
    worker: part of the engine that turned it down.
    kind: reason without particulars, to count by.
    detail: particulars.
    problems: kinds of everything that was wrong.

  Attributes:
    rejection: all of these as one record.
  """

  def __init__(self, worker: types.Worker, kind: str, detail: str = '',
               problems: Iterable[str] = ()):
    self.rejection = types.Rejection(worker, kind, detail, tuple(problems))
    super().__init__(f'{self.rejection.name}: {detail}')
