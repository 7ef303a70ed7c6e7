"""The protocol of language models that write data, and a meter.

A model answers (`procedural`, `openai_chat`); what else is wanted of it wraps
it and is an `LLM` again: `budget` pays, `cache` remembers, `strict` takes only
what was asked for. `build` puts them together.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable, Mapping, Sequence
import dataclasses
import json
import threading
from typing import Any, Protocol

from agentrl import types

MOST_DEPTH = 64  # of objects and lists in JSON that a model wrote
SIDES = {'agent': 'assistant', 'user': 'user'}  # roles of prompts that play one


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
  """What completions cost; adds up.

  Attributes:
    prompt_tokens: read, with those that the server had in its cache.
    completion_tokens: written.
    calls: of a model.
    cached_tokens: of the prompt, read from the server's cache.
    hits: answers that our own cache had; all else of them is 0.
    dollars: price of the calls.
    saved: price [dollars] of what the hits once cost.
    saved_tokens: that they once took.
  """

  prompt_tokens: int = 0
  completion_tokens: int = 0
  calls: int = 0
  cached_tokens: int = 0
  hits: int = 0
  dollars: float = 0.0
  saved: float = 0.0
  saved_tokens: int = 0

  def __add__(self, other: Usage) -> Usage:
    return Usage(*(getattr(self, f.name) + getattr(other, f.name)
                   for f in dataclasses.fields(self)))

  @property
  def tokens(self) -> int:
    return self.prompt_tokens + self.completion_tokens


def by_stage(usages: Iterable[Mapping[str, Usage]]) -> dict[str, Usage]:
  """The sum of what several jobs took of each stage."""
  found: dict[str, Usage] = collections.defaultdict(Usage)
  for usage in usages:
    for stage, use in usage.items():
      found[stage] += use
  return dict(sorted(found.items()))


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
  """A completion.

  Attributes:
    message: what was said; no thinking.
    value: its parsed JSON where a schema was asked for.
    usage: what it cost.
    thinking: what was thought before, where that is shown.
    end: `stop`; or `refused`, `truncated` (the answer) or `no room` (for it
      below the chat).
    problem: why the message is not readable as it came, '' if it is.
  """

  message: types.Message
  value: Any = None
  usage: Usage = Usage()
  thinking: str = ''
  end: str = 'stop'
  problem: str = ''


class BadAnswer(Exception):
  """An answer that nothing can be made of.

  Attributes:
    kind: reason without particulars, to count by.
    detail: for people.
    usage: what it cost all the same.
    stage: in which it was asked for; `Meter` says it.
  """

  kind = 'rejected'

  def __init__(self, detail: str, usage: Usage = Usage()):
    super().__init__(detail)
    self.detail, self.usage, self.stage = detail, usage, ''


class Refused(BadAnswer):
  """The model, or a filter before it, would not answer."""

  kind = 'refused'


class Truncated(BadAnswer):
  """The answer used up its own tokens."""

  kind = 'answer too long'


class NoRoom(BadAnswer):
  """The chat, or the chat with its answer, is longer than the model reads."""

  kind = 'no room'


class Unparsable(BadAnswer):
  """Not what was asked for, and not after another try either."""

  kind = 'unparsable'


class OverBudget(Exception):
  """The next call might cost more than is left."""


class Interrupted(Exception):
  """The run was stopped from outside: what is under way counts for nothing."""


class Unavailable(OSError):
  """The server gave no answer for as long as one may wait."""


class LLM(Protocol):
  """Whatever can go on a chat.

  A model whose answers cost something has an `identity` too: JSON of all that
  they depend on beside the request, with its `model` and `max_tokens`. What
  has none is free, and neither paid for nor cached.
  """

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

    Raises:
      BadAnswer: what came is of no use.
      OverBudget, Interrupted: nothing was asked.
      Unavailable: nothing came.
    """


def loads(text: str) -> Any:
  """Parses JSON that a model wrote.

  Raises:
    ValueError: it is none, or holds what no file can: NaN, half a character;
      or is so deep that whoever walks through it may come to Python's limit.
  """
  try:
    value = json.loads(text, parse_constant=_not_a_number)
    if _is_deeper(value, MOST_DEPTH):
      raise RecursionError
  except RecursionError:
    raise ValueError('it is nested too deeply') from None
  if problem := unwritable(value):
    raise ValueError(problem)
  return value


def _is_deeper(value: Any, most: int) -> bool:
  if not isinstance(value, (dict, list)):
    return False
  items = value.values() if isinstance(value, dict) else value
  return most == 0 or any(_is_deeper(item, most - 1) for item in items)


def _not_a_number(name: str) -> None:
  raise ValueError(f'{name} is no number of JSON')


def unwritable(value: Any) -> str:
  """Why no file can hold a value: half a surrogate pair, which JSON can spell,
  is not a character, and 1e999 becomes infinite. '' if one can."""
  try:
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
  except UnicodeEncodeError:
    return 'it holds half a character'
  except ValueError:
    return 'it holds a number that is too large'
  return ''


class Meter(threading.local):
  """An `LLM` that counts what each stage of its user costs.

  Each thread sets its own `stage` and sees its own `usage`.

  Args:
    llm: who answers.
    others: stage -> who answers there instead.
    brief: stages in which it wants short prompts.
  """

  def __init__(self, llm: LLM, others: Mapping[str, LLM] | None = None,
               brief: Collection[str] = ()):
    self._llm, self._others, self._brief = llm, others or {}, brief
    self.stage = ''
    self.usage: dict[str, Usage] = collections.defaultdict(Usage)

  @property
  def brief(self) -> bool:
    """True if who answers in this stage wants short prompts."""
    return self.stage in self._brief

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (), seed: int) -> Reply:
    llm = self._others.get(self.stage, self._llm)
    try:
      reply = llm.complete(messages, schema=schema, tools=tools, seed=seed)
    except BadAnswer as e:
      e.stage = self.stage
      self.usage[self.stage] += e.usage
      raise
    self.usage[self.stage] += reply.usage
    return reply
