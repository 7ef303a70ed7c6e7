"""The protocol of language models that write data, and a meter."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Protocol

from agentrl import types


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
  """What completions cost; adds up."""

  prompt_tokens: int = 0
  completion_tokens: int = 0
  calls: int = 0

  def __add__(self, other: Usage) -> Usage:
    return Usage(self.prompt_tokens + other.prompt_tokens,
                 self.completion_tokens + other.completion_tokens,
                 self.calls + other.calls)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
  """A completion; `value` is its parsed JSON where a schema was asked for."""

  message: types.Message
  value: Any = None
  usage: Usage = Usage()


class LLM(Protocol):
  """Whatever can go on a chat."""

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (), seed: int) -> Reply:
    """The next message of the role `assistant`.

    Args:
      messages: the chat so far; the first is the system prompt.
      schema: JSON schema of the answer; None asks for a message.
      tools: OpenAI function schemas that it may call.
      seed: the same seed and prompt give the same reply, where the model can
        keep to that.
    """


class Meter:
  """An `LLM` that counts what each stage of its user costs."""

  def __init__(self, llm: LLM):
    self._llm = llm
    self.stage = ''
    self.usage: dict[str, Usage] = collections.defaultdict(Usage)

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (), seed: int) -> Reply:
    reply = self._llm.complete(messages, schema=schema, tools=tools, seed=seed)
    self.usage[self.stage] += reply.usage
    return reply
