"""The host's side of an engine's slots, and the turns that they sample."""

from __future__ import annotations

import dataclasses

import numpy as np

NO_IDS = np.empty(0, np.int32)


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
  """One sampled turn.

  Attributes:
    slot: whose.
    ids: int32, the stop id included if it was reached.
    logps: float32 [nats], of the distribution they were sampled from.
    full: it ended by `max_new` or the length of the slot instead. Without any
      ids: what was fed did not fit, and nothing of it was read.
  """

  slot: int
  ids: np.ndarray
  logps: np.ndarray
  full: bool


@dataclasses.dataclass(slots=True)
class Slot:
  """The host's side of a dialogue."""

  seed: int
  cached: int = 0  # ids whose keys and values are in the cache
  # Ids fed or sampled that are not there yet.
  waiting: np.ndarray = dataclasses.field(default_factory=lambda: NO_IDS)
  left: int = 0  # ids that this turn may still have; 0: nobody is speaking
  ids: list[np.ndarray] = dataclasses.field(default_factory=list)
  logps: list[np.ndarray] = dataclasses.field(default_factory=list)
