"""Speaks for one side of dialogues: a model in an engine, or a script.

A policy serves many dialogues at once, each under a key that the caller
chooses. It is asked, works a little at each `ready()`, and returns finished
replies.
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
from agentrl.tokenizer import vocab as vocab_lib

# Errors of a policy whose service is away. Anything else it raises is a bug and
# stops the run.
INFRA = (ConnectionError, TimeoutError)


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyReply:
  """One turn of a side.

  Attributes:
    key: key of the dialogue.
    message: in the side's own view; an empty one ends the dialogue.
    full: the turn was cut off by a limit of tokens, or had no room at all.
    fault: fault of the infrastructure, '' if there was none.
    no_room: it was the whole dialogue that had no room left.
  """

  key: int
  message: types.Message
  full: bool = False
  fault: str = ''
  no_room: bool = False


class Policy(Protocol):
  """Speaks for one side of many dialogues."""

  def open(self, key: int, seed: int, task: types.Task) -> bool:
    """Opens a dialogue; returns False if there is no room for it now.

    Args:
      key: names the dialogue in later calls.
      seed: seeds its samples, in [0, 2**32).
      task: the task that is played.
    """

  def ask(self, key: int, ask: dialogue.Ask) -> None:
    """Asks for the next turn; one at a time for each key."""

  def retry(self, key: int) -> None:
    """Asks for the last turn once more, as if it had not been taken."""

  def ready(self) -> list[PolicyReply]:
    """Works a little; returns finished replies.

    Their order depends on nothing but the questions.
    """

  def close(self, key: int) -> types.Trace | None:
    """Closes a dialogue; returns its tokens if this side is a model."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Undone:
  """The fields of `_Tokens` that a turn changes, before it; `parts` counts."""

  parts: int
  fed: tuple[tuple[np.ndarray, ...], ...]
  after: types.Message | None
  since: tuple[tuple[int, types.Message], ...]


@dataclasses.dataclass
class _Tokens:
  """The ids of one dialogue so far, and those of the turn under way.

  Attributes:
    slot: slot in the engine.
    index: index of the message under way.
    after: last message of the history; None if that is empty.
    history: number of ids that the cache is rewound to.
    since: (index, message) after the history: to be fed again without its
      thinking.
    parts: columns of the trace, see `_part`.
    fed: the same of the turn under way.
    length: number of ids in the engine's slot, before the turn under way.
    start: where that turn starts among them.
    undone: the state before the last turn, to sample it again.
  """

  slot: int
  index: int = 0
  after: types.Message | None = None
  history: int = 0
  since: tuple[tuple[int, types.Message], ...] = ()
  parts: list[tuple[np.ndarray, ...]] = dataclasses.field(default_factory=list)
  fed: list[tuple[np.ndarray, ...]] = dataclasses.field(default_factory=list)
  length: int = 0
  start: int = 0
  undone: _Undone | None = None

  def trace(self) -> types.Trace:
    """Returns all ids with author, log-probability and index of each."""
    kinds = (np.int32, np.int8, np.float32, np.int16, bool)
    columns = zip(*self.parts) if self.parts else ((),) * 5
    *rest, rewound_T = (
        np.concatenate([np.empty(0, kind), *column], dtype=kind,
                       casting='same_kind')
        for kind, column in zip(kinds, columns))
    return types.Trace(*rest, rewound_T if rewound_T.any() else None)


class ModelPolicy:
  """Speaks by a model. Its traces are the ids that were fed and sampled."""

  def __init__(self, engine: engine_lib.Engine | pool.Pool,
               vocab: vocab_lib.AnyVocab, dtype: str = 'float32', *,
               history_thinking: formats.Keeps = 'keep'):
    """Makes a policy without weights: `load` them.

    Args:
      engine: must stop at `vocab.end`, and serves this policy alone.
      vocab: vocabulary of the model.
      dtype: type that the model computes in.
      history_thinking: `keep` leaves thinking in the history, so the cache only
        grows; `strip` rewinds it to the start of each turn and feeds the turn
        again without its thinking; `template` does so once the other side
        speaks, with all turns and results since it last did.

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
    """Takes the weights to speak with; no dialogue may be open."""
    self._engine.load(self._cast(params))

  def rest(self, forget: bool = False) -> None:
    """Frees memory until the next dialogue; see `Engine.rest`."""
    self._engine.rest(forget)

  def open(self, key: int, seed: int, task: types.Task) -> bool:
    del task  # its prompt says all that a model must know
    if not self._engine.free:
      return False
    slot = self._engine.open(seed)
    self._tokens[key] = _Tokens(slot)
    self._key_of[slot] = key
    return True

  def ask(self, key: int, ask: dialogue.Ask) -> None:
    tokens = self._tokens[key]
    tokens.index, tokens.start = ask.index, tokens.length
    keeps = self._keeps_thinking(tokens, ask.new)
    if keeps:
      new, after = ask.new, tokens.since[-1][1]
      tokens.since += ask.new
    else:
      if tokens.since:
        self._engine.rewind(tokens.slot, tokens.history)
        tokens.start = tokens.history
      new, after = (*tokens.since, *ask.new), tokens.after
      tokens.since, tokens.after = (), new[-1][1]
    for index, message in new:
      ids, authors = formats.render(self._vocab, message, after)
      after = message
      # Some messages of this side, as a greeting, were not sampled: SELF are
      # sampled ids alone, and only those may be trained on.
      authors = [types.Author.TEMPLATE if a == types.Author.SELF else a
                 for a in authors]
      tokens.fed.append(_part(ids, authors, index, rewound=keeps))
      tokens.history += 0 if keeps else len(ids)
    opener = formats.opener(self._vocab, after)
    tokens.fed.append(_part(
        opener, [types.Author.TEMPLATE] * len(opener), ask.index,
        rewound=self._keeps != 'keep'))
    self._feed(tokens)

  def retry(self, key: int) -> None:
    tokens = self._tokens[key]
    undone = tokens.undone
    del tokens.parts[undone.parts:]
    tokens.fed, tokens.after = list(undone.fed), undone.after
    tokens.since = undone.since
    # Rewinding gives the slot other random numbers.
    self._engine.rewind(tokens.slot, tokens.start)
    self._feed(tokens)

  def _feed(self, tokens: _Tokens) -> None:
    self._engine.feed(
        tokens.slot, np.concatenate([part[0] for part in tokens.fed]))

  def _keeps_thinking(self, tokens: _Tokens,
                      new: Sequence[tuple[int, types.Message]]) -> bool:
    """Returns whether thinking since the history stays before `new`."""
    return (self._keeps == 'template' and bool(tokens.since)
            and all(message.role != 'user' for _, message in new))

  def ready(self) -> list[PolicyReply]:
    replies = []
    for turn in self._engine.step():
      key = self._key_of[turn.slot]
      tokens = self._tokens[key]
      tokens.undone = _Undone(len(tokens.parts), tuple(tokens.fed),
                              tokens.after, tokens.since)
      if turn.ids.size:  # else there was no room, and nothing was fed
        tokens.length = tokens.start + turn.ids.size + sum(
            len(part[0]) for part in tokens.fed)
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
      replies.append(PolicyReply(key, message, full=turn.full,
                                 no_room=turn.no_room))
    return replies

  def close(self, key: int) -> types.Trace:
    tokens = self._tokens.pop(key)
    del self._key_of[tokens.slot]
    self._engine.close(tokens.slot)
    return tokens.trace()


def _part(ids: Sequence[int] | np.ndarray, authors: Sequence[int], index: int,
          *, logps: np.ndarray | None = None,
          rewound: bool = False) -> tuple[np.ndarray, ...]:
  """Returns the columns of a trace for some ids of one message.

  Args:
    ids: int32 [T].
    authors: `types.Author` of each id.
    index: index of the message in the dialogue.
    logps: float32 [T], log-probability of each id [nats]; None for fed ids.
    rewound: see `types.Trace`.
  """
  count = len(ids)
  if logps is None:
    logps = np.zeros(count, np.float32)
  return (np.asarray(ids, np.int32), np.asarray(authors, np.int8), logps,
          np.full(count, index, np.int16), np.full(count, rewound))


class ScriptPolicy:
  """Speaks by a function: baselines, replays of gold actions, tests.

  `fn(task, messages)` gets all messages that the side has seen or sent, in its
  own view, and returns its next turn.
  """

  def __init__(self, fn: Callable[[types.Task, list[types.Message]],
                                  types.Message]):
    self._fn = fn
    self._seen: dict[int, tuple[types.Task, list[types.Message]]] = {}
    self._replies: list[PolicyReply] = []

  def open(self, key: int, seed: int, task: types.Task) -> bool:
    del seed
    self._seen[key] = (task, [])
    return True

  def ask(self, key: int, ask: dialogue.Ask) -> None:
    self._seen[key][1].extend(message for _, message in ask.new)
    self._speak(key)

  def retry(self, key: int) -> None:
    del self._seen[key][1][-1]
    self._speak(key)

  def _speak(self, key: int) -> None:
    task, seen = self._seen[key]
    try:
      message = self._fn(task, list(seen))
    except INFRA as e:
      self._replies.append(PolicyReply(key, types.Message('assistant'),
                                       fault=f'{type(e).__name__}: {e}'))
      return
    seen.append(message)
    self._replies.append(PolicyReply(key, message))

  def ready(self) -> list[PolicyReply]:
    replies, self._replies = self._replies, []
    return replies

  def close(self, key: int) -> None:
    del self._seen[key]


def sampled(params: Any, dtype: str) -> Any:
  """Casts parameters to the type that a sampler holds them in.

  Matrices get the type that the decoder computes in, to which it would round
  them at each use. Scales and routers, which it uses in float32, are kept.
  """
  def of_leaf(path: Any, x: jax.Array) -> jax.Array:
    names = {getattr(part, 'key', '') for part in path}
    return x if names & {'scale', 'router'} else x.astype(dtype)
  return jax.tree_util.tree_map_with_path(of_leaf, params)


def from_bundle(bundle: bundles.Bundle, *meshes: jax.sharding.Mesh,
                history_thinking: formats.Keeps = 'keep',
                **engine: Any) -> ModelPolicy:
  """Returns a policy that speaks by a trained model, ready and compiled.

  Args:
    bundle: the model.
    *meshes: devices; each gets an engine.
    history_thinking: see `ModelPolicy`.
    **engine: keyword arguments of `rollout.engine.Engine`.

  Raises:
    ValueError: wrong sizes, or slots longer than the model was made for.
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
