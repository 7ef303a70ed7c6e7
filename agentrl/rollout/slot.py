"""State of an engine's slots on the host, and the turns they sample."""

from __future__ import annotations

import dataclasses

import numpy as np

NO_IDS = np.empty(0, np.int32)


@dataclasses.dataclass(frozen=True, slots=True)
class SampledTurn:
  """One sampled turn.

  Attributes:
    slot: number of the slot.
    ids: int32 [T], with the stop id if it was reached.
    logps: float32 [T], log-probabilities of the ids [nats].
    full: it ended by `max_new` or the length of the slot instead. Without any
      ids: the fed ids did not fit, and none was read.
  """

  slot: int
  ids: np.ndarray
  logps: np.ndarray
  full: bool


@dataclasses.dataclass(slots=True)
class Slot:
  """One dialogue in the engine.

  Attributes:
    seed: seeds its samples.
    cached: number of ids whose keys and values are in the cache.
    waiting: ids that are fed or sampled, but not cached yet.
    left: number of ids that its turn may still have; 0 between turns.
    ids: sampled ids of its turn, by burst.
    logps: their log-probabilities [nats].
  """

  seed: int
  cached: int = 0
  waiting: np.ndarray = dataclasses.field(default_factory=lambda: NO_IDS)
  left: int = 0
  ids: list[np.ndarray] = dataclasses.field(default_factory=list)
  logps: list[np.ndarray] = dataclasses.field(default_factory=list)
