"""Records that cross folders: messages, tasks, certificates, episodes.

All are frozen; `jsons.py` reads and writes them. Messages follow the OpenAI
format. A task can carry everything of a tau2-bench task, and beside it its own
checker and the certificate that says why the checker can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import enum
import json
from typing import Annotated, Any, Literal

import numpy as np

Side = Literal['assistant', 'user']
Role = Literal['system', 'assistant', 'user', 'tool']
Kind = Literal['do', 'refuse', 'transfer', 'fallback']
Json = Any


class Author(enum.IntEnum):
  """Author of a token. Only tokens of SELF were sampled; the rest was fed."""

  PAD = 0
  TEMPLATE = 1  # turn markup that the renderer writes
  SYSTEM = 2
  OTHER = 3  # the other party of the dialogue
  TOOL = 4
  SELF = 5  # the party whose view this is


class Outcome(enum.StrEnum):
  """How an episode ended; `envs/outcomes.py` says of each whether it enters the
  baseline, the gradient and the evaluation."""

  SUCCESS = 'success'
  FAILURE = 'failure'
  AGENT_LIMIT = 'agent_limit'  # steps, errors or context used up by the agent
  USER_FAULT = 'user_fault'
  TOOL_ERROR = 'tool_error'  # a tool broke (not: was called wrongly)
  INFRA = 'infra'
  CHECKER_ERROR = 'checker_error'
  UNJUDGED = 'unjudged'  # the verdict needs a judge, and none is configured


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

  `requestor` and `error` matter on tool results only: the side whose call it
  answers, and whether that call was refused. `tools` matters on system messages
  only: OpenAI schemas that the prompt shows beside its text. `thinking` is the
  text that a side wrote for itself before it spoke: '' if it began and thought
  nothing, None if it did not begin.
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
class Beat:
  """One move of a scripted exchange: words in several variants, or a call.

  Attributes:
    by: side that makes the move.
    say: variants of the words; () for a call.
    call: name of the tool that is called; '' for words.
    arguments: arguments of the call.
    demand: index of the task's demand that the move belongs to.
    opens: whether the user turns to a further demand with it.
    opening: whether it is of the exchange that tells who the user is.
  """

  by: Side
  say: tuple[str, ...] = ()
  call: str = ''
  arguments: Mapping[str, Json] = dataclasses.field(default_factory=dict)
  demand: int = 0
  opens: bool = False
  opening: bool = False


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
  """Everything that an episode is judged by; the fields are tau2-bench's."""

  actions: tuple[Action, ...] = ()
  env_assertions: tuple[Mapping[str, Json], ...] = ()
  communicate_info: tuple[str, ...] = ()
  nl_assertions: tuple[str, ...] = ()
  reward_basis: tuple[str, ...] = ('CHECKER',)


@dataclasses.dataclass(frozen=True, slots=True)
class GoldRun:
  """The moves of a dialogue that solves a task.

  Attributes:
    moves: messages of both sides, without greeting and tool results.
    writes: places in `moves` of the calls that change the state.
    agreed: (place of a write, value of its arguments) pairs: in every wording
      the user agrees to the value right before.
  """

  moves: tuple[Message, ...]
  writes: tuple[int, ...]
  agreed: tuple[tuple[int, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class TaskDemand:
  """One thing that the user of a task wants, as the task keeps it.

  Attributes:
    family: name of the demand family.
    goal: sentences that tell the user about it.
    tell: facts that the agent must say.
    kind: whether it is done, refused, handed over, or done another way.
    writes: places in `GoldRun.moves` of the agent's writes for it.
    forbidden: calls of the agent that the policy forbids here.
    about: words that the user must say, or else the fault is theirs.
    answers: (word, tool) pairs: the user must say the word, once asked, if the
      agent called the tool.
  """

  family: str
  goal: str
  tell: tuple[str, ...] = ()
  kind: Kind = 'do'
  writes: tuple[int, ...] = ()
  forbidden: tuple[ToolCall, ...] = ()
  about: tuple[str, ...] = ()
  answers: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
  """Results of the runs that were executed to trust a checker.

  Attributes:
    gold: whether each wording of the gold run passes.
    orders: the same, of each other order of its demands.
    floors: way to give up -> whether it passes.
    mutants: number of wrong runs that were tried.
    killed: number of them that fail.
    equivalent: number of them that pass rightly: they end as the gold run does.
    survivors: names of those that pass wrongly.
    score: killed share of the mutants that are not equivalent.
    fingerprint: hash of the environment it holds for.
  """

  gold: tuple[bool, ...]
  orders: tuple[bool, ...]
  floors: Mapping[str, bool]
  mutants: int
  killed: int
  equivalent: int
  survivors: tuple[str, ...]
  score: float
  fingerprint: str


class Worker(enum.StrEnum):
  """Parts of the data engine: they ask LLMs, or turn samples down."""

  PLANNER = 'WorkflowPlanner'
  RANDOM_POOL = 'RandomPool'
  USER_INTENT = 'UserIntent'
  TASK_VALIDATION = 'TaskValidation'
  VALIDATION_FUNCTION = 'ValidationFunction'
  CERTIFICATE = 'Certificate'
  DIALOG_SYNTHESIS = 'DialogSynthesis'
  TRAJECTORY_VALIDATION = 'TrajectoryValidation'
  STUDENT = 'Student'
  CRITIC = 'Critic'
  PROMPT_ENGINEER = 'PromptEngineer'
  TOOLS = 'Tools'
  BUDGET = 'Budget'
  DUPLICATES = 'Duplicates'
  CONTAMINATION = 'Contamination'
  PERSONAL = 'Personal'
  DRAW = 'Draw'
  DISJOINT = 'Disjoint'
  READ = 'Read'
  FAILURES = 'Failures'


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
  """Why a sample is not kept.

  Attributes:
    worker: part of the engine that turned it down.
    kind: reason without particulars, to count by.
    detail: particulars, for people and for prompts.
    problems: kinds of everything that was wrong, where that is known.
  """

  worker: Worker
  kind: str
  detail: str = ''
  problems: tuple[str, ...] = ()

  @property
  def name(self) -> str:
    """Worker and kind, as the funnel shows them."""
    return f'{self.worker}: {self.kind}'


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
  """One task: the caller, the start state, and the conditions of success.

  Attributes:
    id: unique within its domain.
    domain: name that `envs.load.load` takes.
    scenario: knowledge and wishes of the user; the user model's system prompt.
    criteria: gold actions and the reward basis.
    initial_state: seed of the database for built-in domains; for tau2 its
      initialisation data, actions and message history.
    checker: Python text of this task's own checker ('' where the benchmark's
      evaluator judges). See `envs/checkers.py` for the arguments it is given.
    kind: doing nothing may pass only where this is not `do`.
    families: the demand families it is composed of.
    split: split of the data that it belongs to.
    database: hash of its database (`envs/databases.py`); '': the domain's own.
    brief: scenario for small user models; '' if there is no shorter one.
    ticket: text that the agent gets in solo mode, instead of a user.
    demands: record of each demand; () where a task was not composed of any.
    gold: a run that solves it; None if none is known.
    certificate: why the checker can be trusted; None if nothing was executed.
    meta: provenance for people; nothing is decided by it.
  """

  id: str
  domain: str
  scenario: str
  criteria: Criteria = Criteria()
  initial_state: Json = None
  checker: str = ''
  kind: Kind = 'do'
  families: tuple[str, ...] = ()
  split: str = ''
  database: str = ''
  brief: str = ''
  ticket: str | None = None
  demands: tuple[TaskDemand, ...] = ()
  gold: GoldRun | None = None
  certificate: Certificate | None = None
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
    rewound_T: bool, ids that the cache was rewound over before the next ones
      were fed: turns with their thinking, and results between them, which the
      history keeps without it. None: it never was.
  """

  ids_T: Annotated[np.ndarray, np.int32]
  author_T: Annotated[np.ndarray, np.int8]
  logp_T: Annotated[np.ndarray, np.float32]
  turn_T: Annotated[np.ndarray, np.int16]
  rewound_T: Annotated[np.ndarray, bool] | None = None

  @property
  def sampled_T(self) -> np.ndarray:
    return self.author_T == Author.SELF

  def sequences(self) -> list[Trace]:
    """Splits the trace into what the model read at one time: all of it or, for
    each stretch that was rewound over, the history up to there and it."""
    rewound_T = self.rewound_T
    if rewound_T is None:
      return [self]
    edges = np.flatnonzero(np.diff(rewound_T, prepend=False, append=False))
    parts = []
    for start, end in edges.reshape(-1, 2):
      keep_T = ~rewound_T
      keep_T[start:] = False
      keep_T[start:end] = True
      parts.append(Trace(self.ids_T[keep_T], self.author_T[keep_T],
                         self.logp_T[keep_T], self.turn_T[keep_T]))
    return parts


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
  """Verdict on an episode.

  Attributes:
    reward: product of the parts; 1 is a success.
    parts: name -> factor of the reward.
    clauses: each condition in words -> whether it is met.
    error: error of the checker; '' if it gave a verdict.
    db: 1 if the database ended as it should, be it a part or not; None where
      that is not known.
    unjudged: whether the verdict needs a judge, and none is configured.
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
  where that side was not a model. `note` says for people why it failed,
  `user_fault` how the user erred, also in a success; `rerolls` counts the turns
  of the user that were sampled again.
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
  note: str = ''
  user_fault: str = ''
  rerolls: int = 0

  @property
  def reward(self) -> float:
    return self.score.reward


def with_tools(text: str, tools: Iterable[Mapping[str, Json]]) -> str:
  """Returns a system prompt with schemas of tools below it, as plain text."""
  schemas = '\n'.join(map(json.dumps, tools))
  return f'{text}\n\n# Tools\n{schemas}' if schemas else text
