"""Joins several engines of one model, each on its own devices, to one.

A model that fits a few chips is sampled fastest by many engines side by side,
as nothing travels between them. The samples of a dialogue depend on its seed
and ids alone, so not on its engine.
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
    """Takes engines without weights.

    Args:
      engines: engines of equal sizes.
      meshes: devices of each engine.
    """
    self._engines, self._meshes = list(engines), list(meshes)
    # Slot -> number of the engine, slot in that engine.
    self._engine_slot: dict[int, tuple[int, int]] = {}
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
    """Opens a slot of the engine that has the most free ones."""
    i = max(range(len(self._engines)), key=lambda i: self._engines[i].free)
    slot = next(n for n in range(len(self._engine_slot) + 1)
                if n not in self._engine_slot)
    self._engine_slot[slot] = i, self._engines[i].open(seed)
    return slot

  def feed(self, slot: int, ids: Sequence[int] | np.ndarray) -> None:
    i, own = self._engine_slot[slot]
    self._engines[i].feed(own, ids)

  def rewind(self, slot: int, length: int) -> None:
    i, own = self._engine_slot[slot]
    self._engines[i].rewind(own, length)

  def close(self, slot: int) -> None:
    i, own = self._engine_slot.pop(slot)
    self._engines[i].close(own)

  def step(self) -> list[slot_lib.SampledTurn]:
    """Steps each engine at the same time; returns turns in order of slots."""
    ended = self._threads.map(lambda engine: engine.step(), self._engines)
    slot_of = {place: slot for slot, place in self._engine_slot.items()}
    turns = [dataclasses.replace(turn, slot=slot_of[i, turn.slot])
             for i, own_turns in enumerate(ended) for turn in own_turns]
    return sorted(turns, key=lambda turn: turn.slot)
