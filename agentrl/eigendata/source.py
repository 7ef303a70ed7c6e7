"""The interface of the data engine to a domain.

The engine plays and judges in a `WritableEnv`, and gets demands from a
`TaskSource`. There are two sources: `write/drafted.py` takes the drafts of the
domain's own tasks.py, `write/invented.py` has an LLM invent demands for a
domain without them, such as those of tau2-bench.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, Protocol

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata.plan import planner
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import state as state_lib

NO_ENTITY = r'(?!)'  # matches nothing


class WritableState(Protocol):
  """The state of a world, which can be compared and taken back."""

  def changes(self) -> dict[str, Any]:
    """Returns every changed field; see `envs.state.State.changes`."""

  def mark(self) -> Any:
    """Returns a point to `rewind` to."""

  def rewind(self, mark: Any) -> None:
    """Takes back everything since a mark."""


class WritableWorld(env_lib.World, Protocol):
  """A world with a writable state."""

  state: WritableState


class WritableEnv(env_lib.Env, Protocol):
  """A domain that tasks can be written for.

  Attributes:
    policy: text of the policy that the agent must keep to.
    basis: reward basis of its tasks, see `types.Criteria`.
    entity: pattern of the names of its entities; '' if they have none.
    judged_on: benchmark split that models are judged on, whose customers are
      never used; '' for a domain that has its own test tasks written.
  """

  policy: str
  basis: tuple[str, ...]
  entity: str
  judged_on: str

  def start(self, task: types.Task) -> WritableWorld:
    """Returns a fresh world in the task's initial state."""

  def verdicts(self, task: types.Task, world: Any,
               messages: Sequence[types.Message]) -> tuple[types.Score, ...]:
    """Returns the verdict of each judge of a task, its checker's first."""

  def user_fault(self, task: types.Task, messages: Sequence[types.Message]
                 ) -> domain.UserFault | None:
    """Returns a fault of the user with its kind; None without one."""

  def initial_state(self, database: int, split: str) -> dict[str, Any]:
    """Returns the initial state over database number `database` of a split."""

  def tables(self, **initial_state: Any) -> state_lib.Tables:
    """Returns the database of an initial state: table -> key -> record."""

  def database(self, **initial_state: Any) -> str:
    """Returns the hash by which the database of an initial state is kept; ''
    if it need not be kept, for the package of a benchmark brings it."""

  def callers(self, tables: state_lib.Tables) -> list[str]:
    """Returns the keys of the people that may call: none that a task of
    `judged_on` is about."""

  def demand_tools(self) -> list[str]:
    """Returns the names of the tools that an invented demand may be about."""

  def setups(self) -> tuple[Mapping[str, Any], ...]:
    """Returns the actions that an invented task may begin with."""

  def prepared(self, start: Mapping[str, Any],
               setup: Sequence[Mapping[str, Any]],
               records: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an initial state with more before it.

    Args:
      start: an initial state.
      setup: actions, of `setups`, that are done first.
      records: table -> key -> fields that differ from the database.
    """

  def scenario(self, knowledge: str, style: str, goals: Sequence[str]
               ) -> tuple[str, str]:
    """Returns a user's instructions, and `types.Task.brief`."""

  def entities(self, task: types.Task, texts: Sequence[str]) -> frozenset[str]:
    """Returns the entities that a task is about, as far as its start or its
    texts name them."""

  def database_texts(self, task: types.Task) -> list[str]:
    """Returns the database that a task starts from as plain text: people and
    numbers in it are fiction."""


@dataclasses.dataclass(frozen=True, slots=True)
class Topic:
  """The subject of a task whose demands have yet to be invented.

  Attributes:
    families: tools of the agent, one for each demand.
    other: whether some demand must be refused, handed over or met otherwise.
    records: records of the caller and around: table -> key -> record.
  """

  families: tuple[str, ...]
  other: bool
  records: Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Draw:
  """The random choices that a sample starts from, made by RandomPool.

  Attributes:
    plan: plan that it was drawn for.
    start: initial state of the task.
    knowledge: sentences that tell the user who they are.
    opening: exchange by which the agent learns who calls.
    drafts: demands; () with a topic.
    others: names of entities that the task is not about.
    topic: subject of the demands, where they have yet to be invented.
  """

  plan: planner.Plan
  start: Mapping[str, Any]
  knowledge: str
  opening: tuple[types.Beat, ...]
  drafts: tuple[domain.Demand, ...]
  others: tuple[str, ...]
  topic: Topic | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Intent:
  """Instructions of the user, and the exchange that they imply.

  Attributes:
    scenario: instructions of the user.
    demands: demands that are worded in it.
    script: exchange in which a good agent meets them.
    brief: see `types.Task.brief`.
    critique: critique of the last dialogue that was played by it.
  """

  scenario: str
  demands: tuple[domain.Demand, ...]
  script: tuple[types.Beat, ...]
  brief: str = ''
  critique: str = ''


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
  """One of the attempts at the intent of a sample.

  Attributes:
    seed: function from names to a seed of this sample.
    purpose: name of the seed of the words.
    number: attempts before this one.
    critique: mistake of the attempt before; '' without one.
  """

  seed: Callable[..., int]
  purpose: str = 'intent'
  number: int = 0
  critique: str = ''


class TaskSource(Protocol):
  """A source of demands for a domain.

  Attributes:
    env: the domain.
    role: role of the prompt that words, or invents, the demands.
    way_known: whether the exchange of a demand is the one that the policy asks
      for: then checkers and mutants go by order, questions and number of calls
      too. If not, the end state and the facts that were told decide alone.
    separable: whether a task may be cut down to some of its demands.
    attempts: number of attempts at an intent.
  """

  env: WritableEnv
  role: str
  way_known: bool
  separable: bool
  attempts: int

  def families(self) -> list[str]:
    """Returns the names of the families that demands may be of."""

  def draw(self, plan: planner.Plan, seed: int, *, database: int,
           other_share: float) -> Draw:
    """Draws caller, subject and style of one sample (RandomPool).

    Args:
      plan: plan to draw from.
      seed: seed of the draw.
      database: number of the database.
      other_share: share of the tasks in which not every demand is simply done.

    Raises:
      SampleRejected: no caller fits the plan.
    """

  def intent(self, writer: prompts.Writer, draw: Draw, attempt: Attempt
             ) -> tuple[Draw, Intent]:
    """Has the user's instructions written (UserIntent).

    Returns:
      the draw, with the state that the task begins with; and the intent.

    Raises:
      SampleRejected: the answer does not fit the draw.
    """

  def review(self, writer: prompts.Writer, task: types.Task, seed: int) -> None:
    """Has a valid task looked over, if the source calls for it.

    Raises:
      SampleRejected: the reviewer objects.
    """


def describe(env: WritableEnv) -> dict[str, Any]:
  """Returns the description of a domain for a planner: policy, tools with the
  first lines of their descriptions, and tables with their sizes and fields."""
  start = env.initial_state(0, 'train')
  asked = types.Task('', env.name, '', initial_state=start)
  tools = {side: {f['name']: f['description'].partition('\n')[0] for f in (
      tool['function'] for tool in env.tools(side, asked))}
           for side in ('assistant', 'user')}
  tables = {name: {'records': len(rows), 'fields': list(next(
      iter(rows.values()), ()))} for name, rows in env.tables(**start).items()}
  return {'policy': env.policy, 'tools': tools, 'tables': tables}
