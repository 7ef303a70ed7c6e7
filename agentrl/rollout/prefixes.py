"""Remembers which slot holds which beginning, so that none is computed twice.

Hundreds of dialogues open with the same policy text, and the samples of a task
with the same scenario. Beginnings are compared by whole blocks of ids.
"""

from __future__ import annotations

import numpy as np

BLOCK = 32  # ids


class Prefixes:
  """Maps beginnings, as their ids, to slots."""

  def __init__(self):
    self._slot_of: dict[bytes, int] = {}

  def add(self, slot: int, ids: np.ndarray) -> None:
    """Notes that `slot` begins with `ids`; known beginnings keep their slot."""
    for n in range(BLOCK, len(ids) + 1, BLOCK):
      self._slot_of.setdefault(ids[:n].tobytes(), slot)

  def find(self, ids: np.ndarray) -> tuple[int, int]:
    """Returns the slot that holds most of the beginning of `ids`, or -1.

    Returns:
      slot, number of ids that it holds.
    """
    slot, known = -1, 0
    for n in range(BLOCK, len(ids) + 1, BLOCK):
      donor = self._slot_of.get(ids[:n].tobytes())
      if donor is None:
        break
      slot, known = donor, n
    return slot, known

  def drop(self, slot: int, beyond: int = 0) -> None:
    """Forgets beginnings of a slot that are longer than `beyond` ids."""
    most = beyond * np.dtype(np.int32).itemsize
    self._slot_of = {k: s for k, s in self._slot_of.items()
                     if s != slot or len(k) <= most}
