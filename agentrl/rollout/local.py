"""Serves a model of this process as an `LLM`, for data engine and student.

    c.llm_roles = dict(Student=dict(llm='agentrl.rollout.local:Local', ...))

Threads ask, one engine answers them side by side. A slot is kept after its
answer, as a beginning that later questions copy: the next turn of a dialogue
reads only its new ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import json
import threading
from typing import Any

from agentrl import sharding
from agentrl import types
from agentrl.llm import llm
from agentrl.llm.openai import wire
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import slot as slot_lib
from agentrl.stage import bundles
from agentrl.tokenizer import formats


@dataclasses.dataclass(slots=True)
class _Question:
  ids: list[int]
  seed: int
  slot: int | None = None
  turn: slot_lib.SampledTurn | None = None


class Local:
  """`llm.LLM` by a model in this process; safe for threads.

  Args:
    weights: published weights, or the folder of a stage that trains a model.
    slots: number of questions at a time, and of answered ones that are kept.
    length: most tokens of a chat, with its answer.
    max_tokens: most tokens of an answer.
    temperature: divides the logits; 0 is greedy.
    dtype: type that the model computes in.

  Raises:
    ValueError: no such weights, or sizes that do not fit them.
  """

  def __init__(self, weights: str, *, slots: int = 32, length: int = 2048,
               max_tokens: int = 128, temperature: float = 0.7,
               dtype: str = 'float32'):
    mesh = sharding.make_mesh(dict.fromkeys(sharding.AXES, 1))
    bundle = bundles.read(weights, mesh, 'llm_kw.weights',
                          dict(dtype=dtype, param_dtype=dtype))
    if length > bundle.model.max_length:
      raise ValueError(f'length={length} is beyond the '
                       f'{bundle.model.max_length} tokens that {weights} was '
                       'made for: lower it.')
    self._vocab, self._max_tokens = bundle.vocab, max_tokens
    self._engine = engine_lib.Engine(
        bundle.model, slots=slots, length=length, max_new=max_tokens,
        stop_id=bundle.vocab.end, pad_id=bundle.vocab.pad,
        temperature=temperature, width=4, chunks=(64, 512))
    self._engine.load(bundle.params)
    self._lock = threading.Lock()
    self._waiting: list[_Question] = []
    self._asked: dict[int, _Question] = {}  # by slot
    self._kept: list[int] = []  # slots of answered ones, the oldest first
    self.identity = {'model': weights, 'digest': bundle.digest,
                     'max_tokens': max_tokens, 'length': length,
                     'temperature': temperature, 'dtype': dtype}

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (),
               seed: int) -> llm.Answer:
    first, *rest = messages
    stated = wire.SCHEMA.format(json.dumps(schema)) if schema else ''
    chat = wire.with_user(
        [dataclasses.replace(first, tools=tuple(tools)), *rest], stated)
    ids, _ = formats.render_all(self._vocab, chat)
    ids += formats.opener(self._vocab, chat[-1])
    question = _Question(ids, seed % 2**32)
    with self._lock:
      self._waiting.append(question)
    while question.turn is None:
      with self._lock:  # its holder works for all threads
        if question.turn is None:
          self._step()
    return self._reply(len(ids), question.turn)

  def _reply(self, read: int, turn: slot_lib.SampledTurn) -> llm.Answer:
    """Returns a turn as a reply; as bare text where it is no message.

    Args:
      read: number of ids before it.
      turn: the sampled turn.
    """
    message, end, problem = formats.parse(self._vocab, turn.ids), 'stop', ''
    if turn.full:
      end = 'truncated' if turn.ids.size == self._max_tokens else 'no room'
    if not (message.is_call or message.has_text):
      said = turn.ids if turn.full else turn.ids[:-1]
      text = ''.join(map(self._vocab.piece, said))
      message = types.Message('assistant', text)
      problem = 'It cannot be read.' if text and not turn.full else ''
    if end == 'no room':
      problem = (f'{read} tokens of a chat leave {turn.ids.size} of '
                 f'{self.identity["length"]} for the answer.')
    return llm.Answer(message, end=end, problem=problem, usage=llm.Usage(
        read, int(turn.ids.size), 1))

  def _step(self) -> None:
    while self._waiting and (self._engine.free or self._kept):
      if not self._engine.free:
        self._engine.close(self._kept.pop(0))
      question = self._waiting.pop(0)
      question.slot = self._engine.open(question.seed)
      self._asked[question.slot] = question
      self._engine.feed(question.slot, question.ids)
    for turn in self._engine.step():
      self._asked.pop(turn.slot).turn = turn
      self._kept.append(turn.slot)
