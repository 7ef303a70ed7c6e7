"""Which slot holds which beginning, so that none is computed twice.

Hundreds of dialogues open with the same policy text, and the samples of a task
with the same scenario. Beginnings are known by blocks of ids.
"""

from __future__ import annotations

import numpy as np

BLOCK = 32  # ids


class Prefixes:
  """Beginnings of the slots' contents, by the ids themselves."""

  def __init__(self):
    self._slot_of: dict[bytes, int] = {}

  def add(self, slot: int, ids: np.ndarray) -> None:
    """`slot` now begins with `ids`; whoever had a beginning first keeps it."""
    for n in range(BLOCK, len(ids) + 1, BLOCK):
      self._slot_of.setdefault(ids[:n].tobytes(), slot)

  def find(self, ids: np.ndarray) -> tuple[int, int]:
    """(slot, n): the slot that holds most of `ids`, and how many of them."""
    slot, known = -1, 0
    for n in range(BLOCK, len(ids) + 1, BLOCK):
      found = self._slot_of.get(ids[:n].tobytes())
      if found is None:
        break
      slot, known = found, n
    return slot, known

  def drop(self, slot: int, beyond: int = 0) -> None:
    """The slot is about to be overwritten, but for its first `beyond` ids."""
    most = beyond * np.dtype(np.int32).itemsize
    self._slot_of = {k: s for k, s in self._slot_of.items()
                     if s != slot or len(k) <= most}
