"""The protocol of language models that write data, and a meter.

A model answers (`stand_in.procedural`, `openai.chat`); each further duty is a
wrapper that is an `LLM` again: `budget` pays, `cache` remembers, `strict`
accepts only answers of the form that was asked for. `build` puts them together.
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
# Role of a prompt that plays a side of a dialogue -> the side.
SIDES = {'agent': 'assistant', 'user': 'user'}


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
  """Cost of answers; adds up.

  Attributes:
    prompt_tokens: tokens read, with those from the server's cache.
    completion_tokens: tokens written.
    calls: number of calls of a model.
    cached_tokens: tokens of the prompts that the server had in its cache.
    hits: number of answers from our own cache; they count nowhere else.
    dollars: price of the calls.
    saved: price [dollars] that the hits once had.
    saved_tokens: tokens that the hits once took.
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
  """Returns the cost of each stage, summed over several jobs."""
  total: dict[str, Usage] = collections.defaultdict(Usage)
  for usage in usages:
    for stage, use in usage.items():
      total[stage] += use
  return dict(sorted(total.items()))


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
  """Answer of a model.

  Attributes:
    message: the message, without thinking.
    value: its parsed JSON where a schema was asked for.
    usage: its cost.
    thinking: text thought before it, where the model shows that.
    end: `stop`; or `refused`, `truncated`, or `no room` if the chat leaves no
      room for it.
    problem: why the message cannot be read; '' if it can.
  """

  message: types.Message
  value: Any = None
  usage: Usage = Usage()
  thinking: str = ''
  end: str = 'stop'
  problem: str = ''


class BadAnswer(Exception):
  """An answer that cannot be used.

  Attributes:
    kind: reason without particulars, to count by.
    detail: particulars.
    usage: its cost all the same.
    stage: stage in which it was asked for; `Meter` sets it.
  """

  kind = 'rejected'

  def __init__(self, detail: str, usage: Usage = Usage(), stage: str = ''):
    super().__init__(detail)
    self.detail, self.usage, self.stage = detail, usage, stage


class Refused(BadAnswer):
  """The model, or a filter before it, refused to answer."""

  kind = 'refused'


class Truncated(BadAnswer):
  """The answer used up its own tokens."""

  kind = 'answer too long'


class NoRoom(BadAnswer):
  """The chat, or the chat with its answer, is longer than the model reads."""

  kind = 'no room'


class Unparsable(BadAnswer):
  """An answer of another form than asked for, also at the second try."""

  kind = 'unparsable'


class OverBudget(Exception):
  """The next call might cost more than is left."""


class Interrupted(Exception):
  """The run was stopped from outside; calls under way do not count."""


class Unavailable(OSError):
  """The server gave no answer within the time limit."""


class LLM(Protocol):
  """Anything that can continue a chat.

  A model whose answers cost something has an `identity` too: JSON of everything
  that they depend on beside the request, with its `model` and `max_tokens`. A
  model without one is free, and neither paid for nor cached.
  """

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (), seed: int) -> Answer:
    """Returns the next message of the role `assistant`.

    Args:
      messages: the chat so far; the first message is the system prompt.
      schema: JSON schema of the answer; None asks for a message.
      tools: OpenAI function schemas of the tools that it may call.
      seed: the same seed and prompt give the same answer, where the model
        supports that.

    Raises:
      BadAnswer: the answer cannot be used.
      OverBudget, Interrupted: no call was made.
      Unavailable: no answer came.
    """


def loads(text: str) -> Any:
  """Parses JSON that a model wrote.

  Raises:
    ValueError: it is no JSON, holds NaN or half a character, which no file
      can hold, or is nested so deeply that recursion over it may fail.
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
  """Returns why no file can hold a value, '' if one can: half a surrogate pair,
  which JSON can spell, is not a character, and 1e999 becomes infinite."""
  try:
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
  except UnicodeEncodeError:
    return 'it holds half a character'
  except ValueError:
    return 'it holds a number that is too large'
  return ''


class Meter(threading.local):
  """Asks the model of a stage, and counts what each stage costs.

  Each thread has its own `usage`.

  Args:
    llm: model of all stages but `others`.
    others: stage -> model that answers there instead.
    brief: stages whose model wants short prompts.

  Attributes:
    usage: stage -> cost since it was last cleared.
  """

  def __init__(self, llm: LLM, others: Mapping[str, LLM] | None = None,
               brief: Collection[str] = ()):
    self._llm, self._others, self._brief = llm, others or {}, brief
    self.usage: dict[str, Usage] = collections.defaultdict(Usage)

  def wants_brief(self, stage: str) -> bool:
    """Returns whether the model of a stage wants short prompts."""
    return stage in self._brief

  def complete(self, messages: Sequence[types.Message], *, stage: str,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (), seed: int) -> Answer:
    """Returns the answer of the stage's model; see `LLM.complete`."""
    llm = self._others.get(stage, self._llm)
    try:
      reply = llm.complete(messages, schema=schema, tools=tools, seed=seed)
    except BadAnswer as e:
      e.stage = stage
      self.usage[stage] += e.usage
      raise
    self.usage[stage] += reply.usage
    return reply
