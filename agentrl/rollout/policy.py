"""Who speaks for a side: a model in an engine, or a script.

A policy serves many dialogues at once, each under a key of the caller's. It is
asked, works a little at each `ready()`, and hands back what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

from agentrl import types
from agentrl.envs import dialogue
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import pool
from agentrl.stage import bundles
from agentrl.tokenizer import formats

# What a policy may fail by without being wrong: its service is away. Anything
# else it raises is a bug and stops the run.
INFRA = (ConnectionError, TimeoutError)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
  """One turn of a dialogue's side.

  Attributes:
    key: of the dialogue.
    message: in the side's own view; an empty one ends the dialogue.
    full: the turn was cut off by a limit of tokens, or had no room at all.
    fault: what of the infrastructure failed; '' if nothing did.
  """

  key: int
  message: types.Message
  full: bool = False
  fault: str = ''


class Policy(Protocol):
  """Anything that can speak for one side of many dialogues."""

  def open(self, key: int, seed: int, task: types.Task) -> bool:
    """Takes on a dialogue; False if there is no room for it just now."""

  def ask(self, key: int, ask: dialogue.Ask) -> None:
    """Asks for the next turn; one at a time for each key."""

  def ready(self) -> list[Reply]:
    """Works a little; the replies that are done, in an order that depends on
    nothing but what was asked."""

  def close(self, key: int) -> types.Trace | None:
    """Ends a dialogue; its tokens, if this side is a model."""


@dataclasses.dataclass
class _Tokens:
  """The ids of one dialogue so far, and those of the turn under way."""

  slot: int
  index: int = 0  # of the message under way
  after: types.Message | None = None  # the last one that the history holds
  history: int = 0  # ids that the cache is rewound to
  # What came since, with its index: to be fed again without its thinking.
  since: tuple[tuple[int, types.Message], ...] = ()
  parts: list[tuple[np.ndarray, ...]] = dataclasses.field(default_factory=list)
  fed: list[tuple[np.ndarray, ...]] = dataclasses.field(default_factory=list)

  def trace(self) -> types.Trace:
    kinds = (np.int32, np.int8, np.float32, np.int16, bool)
    columns = zip(*self.parts) if self.parts else ((),) * 5
    *rest, rewound_T = (
        np.concatenate([np.empty(0, kind), *column], dtype=kind,
                       casting='same_kind')
        for kind, column in zip(kinds, columns))
    return types.Trace(*rest, rewound_T if rewound_T.any() else None)


class ModelPolicy:
  """A model speaks. Its traces are the very ids that were fed and sampled."""

  def __init__(self, engine: engine_lib.Engine | pool.Pool,
               vocab: formats.Vocab, dtype: str = 'float32', *,
               history_thinking: formats.Keeps = 'keep'):
    """Makes a policy without weights: `load` them.

    Args:
      engine: must stop at `vocab.end`, and serves this policy alone.
      vocab: of the model.
      dtype: that the model computes in.
      history_thinking: `keep` leaves what was thought in the history, so the
        cache only ever grows; `strip` rewinds it to the start of each turn
        and feeds the turn again without its thinking; `template` does so once
        the other party speaks, with all turns and results since it last did.

    Raises:
      ValueError: another `history_thinking`.
    """
    formats.check_keeps(history_thinking)
    self._keeps = history_thinking
    self._engine = engine
    self._cast = jax.jit(lambda params: sampled(params, dtype))
    self._vocab = vocab
    self._tokens: dict[int, _Tokens] = {}
    self._key_of: dict[int, int] = {}

  def load(self, params: Any) -> None:
    """Speaks with these weights from now on; no dialogue may be open."""
    self._engine.load(self._cast(params))

  def rest(self, forget: bool = False) -> None:
    """Gives memory back until the next dialogue; see `Engine.rest`."""
    self._engine.rest(forget)

  def open(self, key: int, seed: int, task: types.Task) -> bool:
    del task  # all a model knows of it is in its prompt
    if not self._engine.free:
      return False
    slot = self._engine.open(seed)
    self._tokens[key] = _Tokens(slot)
    self._key_of[slot] = key
    return True

  def ask(self, key: int, ask: dialogue.Ask) -> None:
    tokens = self._tokens[key]
    tokens.index = ask.index
    stays = self._stays(tokens, ask.new)
    if stays:
      new, after = ask.new, tokens.since[-1][1]
      tokens.since += ask.new
    else:
      if tokens.since:
        self._engine.rewind(tokens.slot, tokens.history)
      new, after = (*tokens.since, *ask.new), tokens.after
      tokens.since, tokens.after = (), new[-1][1]
    for index, message in new:
      ids, authors = formats.render(self._vocab, message, after)
      after = message
      # A greeting, say, is in this side's voice but not of its making: SELF is
      # for what was sampled, and only that may ever be trained on.
      authors = [types.Author.TEMPLATE if a == types.Author.SELF else a
                 for a in authors]
      tokens.fed.append(_part(ids, authors, index, rewound=stays))
      tokens.history += 0 if stays else len(ids)
    opener = formats.opener(self._vocab, after)
    tokens.fed.append(_part(
        opener, [types.Author.TEMPLATE] * len(opener), ask.index,
        rewound=self._keeps != 'keep'))
    self._engine.feed(
        tokens.slot, np.concatenate([part[0] for part in tokens.fed]))

  def _stays(self, tokens: _Tokens,
             new: Sequence[tuple[int, types.Message]]) -> bool:
    """True if what was thought is still to be seen after `new`."""
    return (self._keeps == 'template' and bool(tokens.since)
            and all(message.role != 'user' for _, message in new))

  def ready(self) -> list[Reply]:
    replies = []
    for turn in self._engine.step():
      key = self._key_of[turn.slot]
      tokens = self._tokens[key]
      if turn.ids.size:  # else nothing was fed: there was no room for it
        tokens.parts += tokens.fed
        tokens.parts.append(_part(
            turn.ids, [types.Author.SELF] * turn.ids.size, tokens.index,
            logps=turn.logps, rewound=self._keeps != 'keep'))
      tokens.fed = []
      message = formats.parse(self._vocab, turn.ids)
      if self._keeps == 'keep':
        tokens.after = message
      else:
        tokens.since += ((tokens.index, formats.unthought(message)),)
      replies.append(Reply(key, message, full=turn.full))
    return replies

  def close(self, key: int) -> types.Trace:
    tokens = self._tokens.pop(key)
    del self._key_of[tokens.slot]
    self._engine.close(tokens.slot)
    return tokens.trace()


def _part(ids: Sequence[int] | np.ndarray, authors: Sequence[int], index: int,
          *, logps: np.ndarray | None = None,
          rewound: bool = False) -> tuple[np.ndarray, ...]:
  """Columns of a trace for some ids of one message."""
  count = len(ids)
  if logps is None:
    logps = np.zeros(count, np.float32)
  return (np.asarray(ids, np.int32), np.asarray(authors, np.int8), logps,
          np.full(count, index, np.int16), np.full(count, rewound))


class ScriptPolicy:
  """A function speaks: baselines, replays of gold actions, tests.

  `fn(task, messages)` is given all that the side has seen, its own turns
  included, in its own view, and returns its next turn.
  """

  def __init__(self, fn: Callable[[types.Task, list[types.Message]],
                                  types.Message]):
    self._fn = fn
    self._seen: dict[int, tuple[types.Task, list[types.Message]]] = {}
    self._replies: list[Reply] = []

  def open(self, key: int, seed: int, task: types.Task) -> bool:
    del seed
    self._seen[key] = (task, [])
    return True

  def ask(self, key: int, ask: dialogue.Ask) -> None:
    task, seen = self._seen[key]
    seen += [message for _, message in ask.new]
    try:
      message = self._fn(task, list(seen))
    except INFRA as e:
      self._replies.append(Reply(key, types.Message('assistant'),
                                 fault=f'{type(e).__name__}: {e}'))
      return
    seen.append(message)
    self._replies.append(Reply(key, message))

  def ready(self) -> list[Reply]:
    replies, self._replies = self._replies, []
    return replies

  def close(self, key: int) -> None:
    del self._seen[key]


def sampled(params: Any, dtype: str) -> Any:
  """Parameters as a sampler holds them: matrices in the type that the decoder
  computes in, to which it would round them at each use. What it uses in
  float32, scales and routers, stays as it is."""
  def one(path: Any, x: jax.Array) -> jax.Array:
    names = {getattr(part, 'key', '') for part in path}
    return x if names & {'scale', 'router'} else x.astype(dtype)
  return jax.tree_util.tree_map_with_path(one, params)


def from_bundle(bundle: bundles.Bundle, *meshes: jax.sharding.Mesh,
                history_thinking: formats.Keeps = 'keep',
                **engine: Any) -> ModelPolicy:
  """A policy that speaks for a trained model, ready and compiled.

  Args:
    bundle: what speaks.
    *meshes: where it samples: an engine on each.
    history_thinking: see `ModelPolicy`.
    **engine: keyword arguments of `rollout.engine.Engine`.

  Raises:
    ValueError: wrong sizes, or slots longer than what the model was made for.
  """
  if engine['length'] > bundle.model.max_length:
    raise ValueError(
        f'The sampler\'s length {engine["length"]} is beyond the '
        f'{bundle.model.max_length} tokens that the model was made for '
        '(config.model.max_length of its SFT): lower it.')
  formats.check_keeps(history_thinking, bundle.vocab)
  engines = [engine_lib.Engine(bundle.model, stop_id=bundle.vocab.end,
                               pad_id=bundle.vocab.pad, **engine)
             for _ in meshes]
  sampler = pool.Pool(engines, meshes)
  policy = ModelPolicy(sampler, bundle.vocab, bundle.model.dtype,
                       history_thinking=history_thinking)
  policy.load(bundle.params)
  sampler.warmup()
  return policy
