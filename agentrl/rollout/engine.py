"""Samples turns of many dialogues from one model.

Each dialogue owns a slot, and the keys and values of its ids stay in the cache
from its first to its last turn: new ids are appended, nothing is read twice,
and a beginning that another slot holds already is copied. The engine handles
ids only, no messages.

Shapes are few and known beforehand, and `warmup` compiles them all: `width`
rows, or a quarter of them, by numbers of new ids (`chunks`, or one when
decoding) and of positions that are read (`spans`). On CPU a few rows at a time
are as fast as many, and stay in its caches; on an accelerator set `width` to
the number of slots.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
import dataclasses
import functools
import itertools
import os
from typing import Any

import jax
import numpy as np

from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.rollout import device
from agentrl.rollout import prefixes
from agentrl.rollout import sizes
from agentrl.rollout import slot as slot_lib

DeviceCall = functools.partial  # of a program in device.py, not yet made


class Engine:
  """Slots over one model, see the module."""

  def __init__(self, config: model_config.ModelConfig, *, slots: int,
               length: int, stop_id: int, max_new: int, pad_id: int = 0,
               burst: int = 8, width: int = 16,
               chunks: Sequence[int] = (8, 32, 128), temperature: float = 1.0):
    """Makes an engine without weights: `load` them, then `warmup`.

    Args:
      config: shape of the model.
      slots: number of dialogues at a time.
      length: most ids of a dialogue, fed and sampled.
      stop_id: ends a turn.
      max_new: most ids of a turn.
      pad_id: never sampled.
      burst: ids of each dialogue that are sampled without the host.
      width: most rows of a call on the device.
      chunks: numbers of new ids that are read at once.
      temperature: divides the logits; 0 is greedy.

    Raises:
      ValueError: a size below 1, or a negative temperature.
    """
    least = dict(slots=slots, length=length, max_new=max_new, burst=burst,
                 width=width, chunks=min(chunks))
    if bad := {k: v for k, v in least.items() if v < 1}:
      raise ValueError(f'An engine needs sizes of at least 1, got {bad}.')
    if temperature < 0:
      raise ValueError(f'temperature must be 0 (greedy) or more, got '
                       f'{temperature}.')
    self._spec = device.EngineSpec(config, burst, stop_id, pad_id)
    self._slots, self._length, self._max_new = slots, length, max_new
    self._width = min(width, slots)
    # Long chunks take fewer rows: one late dialogue must not cost a full call.
    self._rows_of = {c: max(1, min(self._width, 32 * self._width // c))
                     for c in sorted(chunks)}
    self._spans = sizes.growing(length)
    self._temperature = np.float32(temperature)
    self._params = self._cache = None
    self._open: dict[int, slot_lib.Slot] = {}
    self._prefixes = prefixes.Prefixes()
    self._refused: list[slot_lib.SampledTurn] = []

  @property
  def burst(self) -> int:
    """Most ids of a dialogue that are sampled without the host."""
    return self._spec.burst

  @property
  def free(self) -> int:
    """Number of slots that can still be opened."""
    return self._slots - len(self._open)

  def load(self, params: Any) -> None:
    """Takes the weights to sample from.

    Raises:
      RuntimeError: a slot is open; its cache is of the old weights.
    """
    if self._open:
      raise RuntimeError(f'{len(self._open)} dialogues are still open: close '
                         'them before loading other weights.')
    self._take(params)
    self._wake()
    self._cache = jax.device_put(self._cache, self._spec.shardings)

  def _take(self, params: Any) -> Callable[[], cache_lib.KvCache]:
    """Takes weights, or their shapes; returns a maker of empty caches."""
    empty = functools.partial(cache_lib.empty, self._spec.model, self._slots,
                              self._length)
    shardings = device.cache_shardings(jax.eval_shape(empty), params)
    if shardings != self._spec.shardings:
      self._spec = dataclasses.replace(self._spec, shardings=shardings)
      # Made in its shards: it may fill many devices.
      self._empty = jax.jit(empty, out_shardings=shardings)
    self._params = params
    return empty

  def _wake(self) -> None:
    if self._cache is None:
      self._cache = self._empty()

  def rest(self, forget: bool = False) -> None:
    """Frees the memory of the cache until a dialogue is opened.

    Args:
      forget: frees that of the weights too; others must be loaded first.

    Raises:
      RuntimeError: a dialogue is open.
    """
    if self._open:
      raise RuntimeError(f'{len(self._open)} dialogues are still open: close '
                         'them first.')
    self._cache = None
    if forget:
      self._params = None

  def lower(self, params: Any) -> tuple[Any, dict[str, jax.stages.Lowered]]:
    """Lowers the largest call of each kind; allocates and runs nothing.

    Args:
      params: shapes and shardings of the weights.

    Returns:
      shapes and shardings of the cache; `prefill` and `decode`, lowered.
    """
    empty = self._take(params)
    self._cache = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype,
                                                 sharding=sharding),
        jax.eval_shape(empty), self._spec.shardings)
    chunk, rows = max(self._rows_of.items())
    calls = {'prefill': self._prefill_call([], rows, chunk, self._length),
             'decode': self._decode_call([], self._width, self._length)}
    return self._cache, {name: _lowered(call) for name, call in calls.items()}

  def warmup(self) -> None:
    """Compiles every shape, several at a time; nothing compiles after it."""
    reads = [([], rows, chunk, span) for span in self._spans
             for chunk, most in self._rows_of.items()
             for rows in sizes.rows(most)]
    draws = [([], rows, span) for span in self._spans
             for rows in sizes.rows(self._width)]
    calls = [*itertools.starmap(self._prefill_call, reads),
             *itertools.starmap(self._decode_call, draws),
             *(self._copy_call([], span) for span in self._spans)]
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      list(pool.map(lambda call: _lowered(call).compile(), calls))
    for args in reads:
      self._prefill_rows(*args)
    for args in draws:
      self._decode_rows(*args)
    for span in self._spans:
      self._copy_rows([], span)

  def open(self, seed: int) -> int:
    """Opens a slot; its samples are a function of `seed` and of its ids.

    Returns:
      the number of the slot.

    Raises:
      RuntimeError: no slot is free.
      ValueError: `seed` is not in [0, 2**32).
    """
    if not 0 <= seed < 2**32:
      raise ValueError(f'A seed must lie in [0, 2**32), got {seed}.')
    if not self.free:
      raise RuntimeError(f'All {self._slots} slots are open: close one first, '
                         'or make the engine with more slots.')
    self._wake()
    slot = min(set(range(self._slots)) - set(self._open))
    self._open[slot] = slot_lib.Slot(seed)
    self._prefixes.drop(slot)
    return slot

  def feed(self, slot: int, ids: Sequence[int] | np.ndarray) -> None:
    """Appends ids to a dialogue, and starts a turn of the model.

    Raises:
      RuntimeError: its turn has not ended.
      ValueError: no ids, or one outside of the vocabulary.
    """
    s = self._open[slot]
    ids = np.asarray(ids, np.int32)
    if s.left:
      raise RuntimeError(f'Slot {slot} is still speaking: wait for its turn '
                         'before feeding it.')
    vocab_size = self._spec.model.vocab_size
    if not ids.size or ids.min() < 0 or ids.max() >= vocab_size:
      raise ValueError(f'Slot {slot} was fed no ids, or ids outside of [0, '
                       f'{vocab_size}). Is this the model\'s vocabulary?')
    room = self._length - s.cached - s.waiting.size - ids.size
    if room < 1:
      self._refused.append(slot_lib.SampledTurn(
          slot, slot_lib.NO_IDS, np.empty(0, np.float32), full=True,
          no_room=True))
      return
    s.waiting = np.concatenate([s.waiting, ids])
    s.left = min(room, self._max_new)

  def rewind(self, slot: int, length: int) -> None:
    """Forgets all but the first `length` ids of a dialogue.

    Raises:
      RuntimeError: its turn has not ended.
      ValueError: fewer ids are in the cache.
    """
    s = self._open[slot]
    if s.left:
      raise RuntimeError(f'Slot {slot} is still speaking: wait for its turn '
                         'before rewinding it.')
    if not 0 <= length <= s.cached:
      raise ValueError(f'Slot {slot} has {s.cached} ids in its cache, and '
                       f'cannot be rewound to {length}.')
    s.cached, s.waiting = length, slot_lib.NO_IDS
    # Random numbers depend on seed and position: positions must not repeat.
    s.seed = int(np.random.SeedSequence([s.seed, length]).generate_state(1)[0])
    self._prefixes.drop(slot, length)

  def close(self, slot: int) -> None:
    """Frees a slot, also within a turn."""
    del self._open[slot]
    self._refused = [turn for turn in self._refused if turn.slot != slot]
    if not self._open:
      # Nothing is kept between waves of dialogues: the samples of a run must
      # not depend on earlier runs.
      self._prefixes = prefixes.Prefixes()

  def step(self) -> list[slot_lib.SampledTurn]:
    """Reads all waiting ids, decodes one burst; returns the ended turns."""
    turns, self._refused = self._refused, []
    busy = [i for i, s in sorted(self._open.items()) if s.left]
    self._share([i for i in busy if not self._open[i].cached])
    self._prefill(busy)
    return turns + self._decode(busy)

  def _share(self, fresh: list[int]) -> None:
    """Reads beginnings of new dialogues, each only once; others copy them."""
    while fresh:
      leaders, rest, copies = {}, [], []
      for i in fresh:
        ids = self._open[i].waiting[:-1]
        donor, n = self._prefixes.find(ids)
        more = n + prefixes.BLOCK
        key = ids[:more].tobytes() if more <= ids.size else i
        if leaders.setdefault(key, (i, ids))[0] != i:
          rest.append(i)
        elif n:
          copies.append((donor, i, n))
      self._copy(copies)
      self._prefill([i for i, _ in leaders.values()])
      for i, ids in leaders.values():
        self._prefixes.add(i, ids)
      fresh = rest

  def _copy(self, copies: list[tuple[int, int, int]]) -> None:
    copies = sorted(copies, key=lambda c: c[2])
    for start in range(0, len(copies), self._width):
      group = copies[start:start + self._width]
      self._copy_rows([(donor, i) for donor, i, _ in group],
                      self._span(group[-1][2]))
      for _, i, n in group:
        s = self._open[i]
        s.cached, s.waiting = n, s.waiting[n:]

  def _prefill(self, slots: Iterable[int]) -> None:
    """Reads all waiting ids but the last, from which decoding starts."""
    todo = {i: self._open[i] for i in slots}
    while todo := {i: s for i, s in todo.items() if s.waiting.size > 1}:
      by_chunk: dict[int, list[int]] = {}
      for i, s in sorted(todo.items(), key=lambda item: item[1].cached):
        chunk = sizes.chunk(s.waiting.size - 1, list(self._rows_of))
        by_chunk.setdefault(chunk, []).append(i)
      for chunk, members in by_chunk.items():
        for group, rows in sizes.groups(members, self._rows_of[chunk]):
          need = max(self._open[i].cached + min(
              chunk, self._open[i].waiting.size - 1) for i in group)
          self._prefill_rows(group, rows, chunk, self._span(need))

  def _decode(self, busy: list[int]) -> list[slot_lib.SampledTurn]:
    ordered = sorted(busy, key=lambda i: self._open[i].cached)
    drawn = []
    for group, rows in sizes.groups(ordered, self._width):
      need = self._open[group[-1]].cached + self._spec.burst
      span = self._span(min(need, self._length))
      drawn.append((group, self._decode_rows(group, rows, span)))
    ended = {}
    for group, (ids_BT, logp_BT) in drawn:  # all run by now: fetch last
      for i, ids_T, logp_T in zip(group, np.asarray(ids_BT),
                                  np.asarray(logp_BT)):
        if turn := self._record(i, ids_T, logp_T):
          ended[i] = turn
    return [turn for _, turn in sorted(ended.items())]

  def _record(self, slot: int, ids_T: np.ndarray,
              logp_T: np.ndarray) -> slot_lib.SampledTurn | None:
    """Notes a burst of a slot; returns its turn if that has ended."""
    s = self._open[slot]
    n = int((ids_T != self._spec.pad_id).sum())
    s.ids.append(ids_T[:n])
    s.logps.append(logp_T[:n])
    s.cached += n
    s.waiting = ids_T[n - 1:n]
    stopped = s.waiting[0] == self._spec.stop_id
    s.left = 0 if stopped else s.left - n
    if s.left:
      return None
    turn = slot_lib.SampledTurn(slot, np.concatenate(s.ids),
                                np.concatenate(s.logps), full=not stopped,
                                no_room=not stopped and
                                s.cached + 1 >= self._length)
    s.ids, s.logps = [], []
    return turn

  def _span(self, positions: int) -> int:
    return self._spans[bisect.bisect_left(self._spans, positions)]

  def _rows(self, group: list[int], size: int,
            counts: Iterable[int]) -> device.SlotRows:
    """Returns the rows of a call, filled up to `size` with unused rows."""
    table = np.zeros((4, size), np.uint32)
    table[0] = self._slots
    for b, (i, count) in enumerate(zip(group, counts)):
      s = self._open[i]
      table[:, b] = i, s.seed, s.cached, count
    slot_B, seed_B, start_B, count_B = table
    return device.SlotRows(slot_B.astype(np.int32), seed_B,
                           start_B.astype(np.int32), count_B.astype(np.int32))

  def _prefill_rows(self, group: list[int], size: int, chunk: int,
                    span: int) -> None:
    self._cache = self._prefill_call(group, size, chunk, span)()
    for i in group:
      s = self._open[i]
      count = min(chunk, s.waiting.size - 1)
      s.cached, s.waiting = s.cached + count, s.waiting[count:]

  def _prefill_call(self, group: list[int], size: int, chunk: int,
                    span: int) -> DeviceCall:
    ids_BT = np.full((size, chunk), self._spec.pad_id, np.int32)
    counts = []
    for b, i in enumerate(group):
      s = self._open[i]
      counts.append(min(chunk, s.waiting.size - 1))
      ids_BT[b, :counts[b]] = s.waiting[:counts[b]]
    return functools.partial(
        device.prefill, self._params, self._cache,
        self._rows(group, size, counts), ids_BT, spec=self._spec, span=span)

  def _decode_rows(self, group: list[int], size: int,
                   span: int) -> tuple[Any, Any]:
    self._cache, ids_BT, logp_BT = self._decode_call(group, size, span)()
    return ids_BT, logp_BT

  def _decode_call(self, group: list[int], size: int, span: int) -> DeviceCall:
    last_B = np.full(size, self._spec.pad_id, np.int32)
    last_B[:len(group)] = [self._open[i].waiting[0] for i in group]
    lefts = (self._open[i].left for i in group)
    return functools.partial(
        device.decode, self._params, self._cache,
        self._rows(group, size, lefts), last_B, self._temperature,
        spec=self._spec, span=span)

  def _copy_rows(self, pairs: list[tuple[int, int]], span: int) -> None:
    self._cache = self._copy_call(pairs, span)()

  def _copy_call(self, pairs: list[tuple[int, int]], span: int) -> DeviceCall:
    from_B = np.zeros(self._width, np.int32)
    to_B = np.full(self._width, self._slots, np.int32)
    for b, (donor, slot) in enumerate(pairs):
      from_B[b], to_B[b] = donor, slot
    return functools.partial(device.copy, self._cache, from_B, to_B,
                             spec=self._spec, span=span)


def _lowered(call: DeviceCall) -> jax.stages.Lowered:
  return call.func.lower(*call.args, **call.keywords)
