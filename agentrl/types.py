"""What crosses folders: messages, tasks, episodes. Frozen; to and from JSON.

Messages follow the OpenAI chat format. A task can carry everything of a
tau2-bench task, and beside it the text of its own checker and the certificate
that says why the checker can be believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import enum
import json
from typing import Any, Literal

import numpy as np

Side = Literal['assistant', 'user']
Role = Literal['system', 'assistant', 'user', 'tool']
Json = Any


class Author(enum.IntEnum):
  """Who wrote a token. Only SELF was sampled; all else was fed."""

  PAD = 0
  TEMPLATE = 1  # turn markup that the renderer writes
  SYSTEM = 2
  OTHER = 3  # the other party of the dialogue
  TOOL = 4
  SELF = 5  # the party whose view this is


class Outcome(enum.StrEnum):
  """How an episode ended, as far as training and evaluation care.

  `envs/outcomes.py` says of each whether it enters the baseline, the gradient
  and the evaluation.
  """

  SUCCESS = 'success'
  FAILURE = 'failure'
  AGENT_LIMIT = 'agent_limit'  # steps, errors or context used up by the agent
  USER_FAULT = 'user_fault'
  TOOL_ERROR = 'tool_error'  # a tool broke (not: was called wrongly)
  INFRA = 'infra'
  CHECKER_ERROR = 'checker_error'
  UNJUDGED = 'unjudged'  # it hangs on a judge, and there is none


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCall:
  """One call of a tool; `requestor` is the side that makes it."""

  name: str
  arguments: Mapping[str, Json]
  id: str = ''
  requestor: Side = 'assistant'


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
  """One chat message.

  `requestor` and `error` matter on tool results only: whose call it answers,
  and whether that call was refused. `tools` matters on system messages only:
  OpenAI schemas that the prompt shows beside its text. `thinking` is what a
  side wrote for itself before it spoke: '' if it began and thought nothing,
  None if it did not begin.
  """

  role: Role
  content: str | None = None
  tool_calls: tuple[ToolCall, ...] = ()
  id: str = ''  # of the call that a tool result answers
  requestor: Side = 'assistant'
  error: bool = False
  tools: tuple[Mapping[str, Json], ...] = ()
  thinking: str | None = None

  @property
  def is_call(self) -> bool:
    return bool(self.tool_calls)

  @property
  def has_text(self) -> bool:
    return bool(self.content and self.content.strip())


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
  """A gold call. `compare_args`: the arguments that count, None for all."""

  name: str
  arguments: Mapping[str, Json]
  requestor: Side = 'assistant'
  id: str = ''
  compare_args: tuple[str, ...] | None = None
  info: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Criteria:
  """What an episode is judged by; the fields are those of tau2-bench."""

  actions: tuple[Action, ...] = ()
  env_assertions: tuple[Mapping[str, Json], ...] = ()
  communicate_info: tuple[str, ...] = ()
  nl_assertions: tuple[str, ...] = ()
  reward_basis: tuple[str, ...] = ('CHECKER',)


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
  """One task: who calls, what is so, what must be true in the end.

  Attributes:
    id: unique within its domain.
    domain: name that `envs.load.load` takes.
    scenario: what the user knows and wants; the user model's system prompt.
    criteria: gold actions and the reward basis.
    initial_state: seed of the database for built-in domains; for tau2 its
      initialisation data, actions and message history.
    checker: Python text of this task's own checker ('' where the benchmark's
      evaluator judges). See `envs/checkers.py` for what it is given.
    certificate: what was executed to trust the checker; None if nothing was.
    kind: `do`, `refuse`, `transfer` or `fallback`; doing nothing may pass only
      where this is not `do`.
    families: the demand families it is composed of.
    meta: anything else that must travel along (the writer's plan, split).
  """

  id: str
  domain: str
  scenario: str
  criteria: Criteria = Criteria()
  initial_state: Json = None
  checker: str = ''
  certificate: Mapping[str, Json] | None = None
  kind: str = 'do'
  families: tuple[str, ...] = ()
  meta: Mapping[str, Json] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
  """One side's token sequence: the very ids that were fed or sampled.

  Attributes:
    ids_T: int32 token ids.
    author_T: int8 `Author` of each id.
    logp_T: float32 log-probability [nats] under the sampling distribution of
      the weights that sampled it; 0 where the id was fed.
    turn_T: int16 index into `Episode.messages` of the message it belongs to,
      -1 for the system prompt.
    rewound_T: bool, ids that the cache was rewound over before what follows
      was fed: turns with their thinking, and results between them, which the
      history keeps without it. None: it never was.
  """

  ids_T: np.ndarray
  author_T: np.ndarray
  logp_T: np.ndarray
  turn_T: np.ndarray
  rewound_T: np.ndarray | None = None

  @property
  def sampled_T(self) -> np.ndarray:
    return self.author_T == Author.SELF

  def sequences(self) -> list[Trace]:
    """What the model had before it at one time: all of it or, for each stretch
    that the cache was rewound over, the history up to there and the stretch."""
    rewound_T = self.rewound_T
    if rewound_T is None:
      return [self]
    edges = np.flatnonzero(np.diff(rewound_T, prepend=False, append=False))
    found = []
    for start, end in edges.reshape(-1, 2):
      keep_T = ~rewound_T
      keep_T[start:] = False
      keep_T[start:end] = True
      found.append(Trace(self.ids_T[keep_T], self.author_T[keep_T],
                         self.logp_T[keep_T], self.turn_T[keep_T]))
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
  """Verdict on an episode: the product of its parts, and what was seen.

  Attributes:
    reward: 1 is a success.
    parts: what it is the product of.
    clauses: what was asked for, in words, and whether it is so.
    error: of the checker; '' if it gave a verdict.
    db: 1 if the database ended as it should, be it a part or not; None where
      that is not known.
    unjudged: the verdict hangs on a judge that there is none of.
  """

  reward: float
  parts: Mapping[str, float] = dataclasses.field(default_factory=dict)
  clauses: Mapping[str, bool] = dataclasses.field(default_factory=dict)
  error: str = ''
  db: float | None = None
  unjudged: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Episode:
  """One dialogue, played to its end and judged.

  `ended` is the termination reason of `envs/dialogue.py`; the traces are None
  where that side was not a model.
  """

  task_id: str
  trial: int
  messages: tuple[Message, ...]
  ended: str
  outcome: Outcome
  score: Score
  steps: int
  agent: Trace | None = None
  user: Trace | None = None
  note: str = ''  # what the fault was, for people

  @property
  def reward(self) -> float:
    return self.score.reward


def with_tools(text: str, tools: Iterable[Mapping[str, Json]]) -> str:
  """A system prompt with schemas of tools below it, as plain text."""
  schemas = '\n'.join(map(json.dumps, tools))
  return f'{text}\n\n# Tools\n{schemas}' if schemas else text


def to_json(value: Any) -> Json:
  """Plain JSON of any type above, without fields at their default."""
  if isinstance(value, enum.Enum):
    return value.value
  if isinstance(value, np.ndarray):
    return [round(x, 6) if isinstance(x, float) else x for x in value.tolist()]
  if dataclasses.is_dataclass(value):
    pairs = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
    return {f.name: to_json(v) for f, v in pairs if not _is_default(f, v)}
  if isinstance(value, Mapping):
    return {str(k): to_json(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [to_json(v) for v in value]
  return value


def _is_default(field: dataclasses.Field, value: Any) -> bool:
  if isinstance(value, np.ndarray):
    return False
  if field.default_factory is not dataclasses.MISSING:
    return value == field.default_factory()
  return field.default is not dataclasses.MISSING and value == field.default


def _known(cls: type, record: Json) -> dict[str, Any]:
  """`record` as keyword arguments of `cls`; an error says what is off."""
  if not isinstance(record, Mapping):
    raise ValueError(
        f'{cls.__name__} must be a JSON object, got {type(record).__name__}: '
        f'{str(record)[:80]!r}.')
  names = {f.name for f in dataclasses.fields(cls)}
  if unknown := sorted(set(record) - names):
    raise ValueError(
        f'{cls.__name__} has no field {unknown}; it has {sorted(names)}. '
        'Was the file written by another version?')
  return dict(record)


def call_from_json(record: Json) -> ToolCall:
  return ToolCall(**_known(ToolCall, record))


def message_from_json(record: Json) -> Message:
  kw = _known(Message, record)
  kw['tool_calls'] = tuple(map(call_from_json, kw.get('tool_calls', ())))
  kw['tools'] = tuple(kw.get('tools', ()))
  return Message(**kw)


def action_from_json(record: Json) -> Action:
  kw = _known(Action, record)
  if kw.get('compare_args') is not None:
    kw['compare_args'] = tuple(kw['compare_args'])
  return Action(**kw)


def criteria_from_json(record: Json) -> Criteria:
  kw = {k: tuple(v) for k, v in _known(Criteria, record).items()}
  kw['actions'] = tuple(map(action_from_json, kw.get('actions', ())))
  return Criteria(**kw)


def task_from_json(record: Json) -> Task:
  kw = _known(Task, record)
  kw['criteria'] = criteria_from_json(kw.get('criteria', {}))
  kw['families'] = tuple(kw.get('families', ()))
  return Task(**kw)


def trace_from_json(record: Json) -> Trace:
  kw = _known(Trace, record)
  rewound = kw.get('rewound_T')
  return Trace(
      np.asarray(kw['ids_T'], np.int32), np.asarray(kw['author_T'], np.int8),
      np.asarray(kw['logp_T'], np.float32), np.asarray(kw['turn_T'], np.int16),
      rewound if rewound is None else np.asarray(rewound, bool))


def episode_from_json(record: Json) -> Episode:
  kw = _known(Episode, record)
  kw['messages'] = tuple(map(message_from_json, kw['messages']))
  kw['outcome'] = Outcome(kw['outcome'])
  kw['score'] = Score(**_known(Score, kw['score']))
  for side in ('agent', 'user'):
    if kw.get(side) is not None:
      kw[side] = trace_from_json(kw[side])
  return Episode(**kw)


def to_openai(message: Message) -> dict[str, Json]:
  """The message as the OpenAI chat format has it."""
  found = {'role': message.role, 'content': message.content}
  if message.role == 'tool':
    found['tool_call_id'] = message.id
  if message.is_call:
    found['tool_calls'] = [
        {'id': c.id, 'type': 'function', 'function': {
            'name': c.name, 'arguments': json.dumps(
                dict(c.arguments), ensure_ascii=False)}}
        for c in message.tool_calls]
  return found


def dumps(value: Any) -> str:
  """One line of JSON, stable: the same value gives the same text."""
  return json.dumps(to_json(value), ensure_ascii=False, sort_keys=True)
