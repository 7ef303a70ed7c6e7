"""Several engines of one model, each on devices of its own, as one engine.

A model that fits a few chips is sampled fastest by many engines side by side:
nothing travels between them. What a dialogue samples depends on its seed and
its ids alone, so not on where it is put.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent import futures
import dataclasses
from typing import Any

import jax
import numpy as np

from agentrl import sharding
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import slot as slot_lib


class Pool:
  """See the module; the methods are those of `engine.Engine`."""

  def __init__(self, engines: Sequence[engine_lib.Engine],
               meshes: Sequence[jax.sharding.Mesh]):
    """Takes engines without weights, and where each of them lies."""
    self._engines, self._meshes = list(engines), list(meshes)
    self._at: dict[int, tuple[int, int]] = {}  # slot: engine, slot of it
    self._threads = futures.ThreadPoolExecutor(len(self._engines))

  @property
  def free(self) -> int:
    return sum(engine.free for engine in self._engines)

  def load(self, params: Any) -> None:
    for engine, mesh in zip(self._engines, self._meshes):
      engine.load(jax.device_put(params, sharding.shardings(params, mesh)))

  def rest(self, forget: bool = False) -> None:
    for engine in self._engines:
      engine.rest(forget)

  def warmup(self) -> None:
    list(self._threads.map(lambda engine: engine.warmup(), self._engines))

  def open(self, seed: int) -> int:
    """A slot of the engine that has the most."""
    i = max(range(len(self._engines)), key=lambda i: self._engines[i].free)
    slot = next(n for n in range(len(self._at) + 1) if n not in self._at)
    self._at[slot] = i, self._engines[i].open(seed)
    return slot

  def feed(self, slot: int, ids: Sequence[int] | np.ndarray) -> None:
    i, own = self._at[slot]
    self._engines[i].feed(own, ids)

  def rewind(self, slot: int, length: int) -> None:
    i, own = self._at[slot]
    self._engines[i].rewind(own, length)

  def close(self, slot: int) -> None:
    i, own = self._at.pop(slot)
    self._engines[i].close(own)

  def step(self) -> list[slot_lib.Turn]:
    """A step of each engine at the same time; turns in the order of slots."""
    ended = self._threads.map(lambda engine: engine.step(), self._engines)
    slot_of = {at: slot for slot, at in self._at.items()}
    turns = [dataclasses.replace(turn, slot=slot_of[i, turn.slot])
             for i, found in enumerate(ended) for turn in found]
    return sorted(turns, key=lambda turn: turn.slot)
