"""A domain of tau2-bench as the data engine takes one: an LLM thinks of new
tasks over the benchmark's tools and databases (`goals.py`).

A task stands in the benchmark's own form and is judged by its evaluator (end
state and facts told). Its checker says the same in Python, and is held to agree
with the evaluator by the certificate. Where the databases lack what a task
needs, it begins with records or settings of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
import json
from typing import Any

from agentrl import jsons
from agentrl import types
from agentrl.eigendata.tau2 import held_out as tau2_held
from agentrl.envs import checkers
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import state as state_lib
from agentrl.envs.tau2 import env as tau2
from agentrl.envs.tau2 import package as tau2_bench
from agentrl.envs.tau2 import state as tau2_state

State = Mapping[str, Any]


class Tau2Domain(tau2.Tau2):
  """`domain.Domain` of one of the benchmark's domains.

  Args:
    domain: airline, retail or telecom.
    judged_on: the split whose customers, and tasks, are nobody's.
    **options: of `tau2.Tau2`.

  Attributes: see `domain.Domain`.
  """

  drafts = None
  basis = ('DB', 'COMMUNICATE')

  def __init__(self, domain: str = 'telecom', *, judged_on: str = 'test',
               **options: Any):
    super().__init__(domain, **options)
    self.policy, self.judged_on = self._bench.policy, judged_on

  def tables(self, **start: Any) -> state_lib.Tables:
    """The database, and the user's device if there is one, at the start."""
    return _tables(self, jsons.dumps(start))

  def aims(self) -> list[str]:
    """Tools of both sides that change something."""
    return sorted(n for n in self._bench.writes
                  if not n.startswith(env_lib.TRANSFER_TOOL))

  def callers(self, tables: state_lib.Tables) -> list[str]:
    """Customers who are in no task that models are judged on; of telecom those
    whose phone the benchmark knows how to set up."""
    if self.domain != 'telecom':
      return tau2_held.customers(self, self.judged_on)
    owners = {s['arguments'].get('name') for s in self.setups()}
    return [key for key, record in tables['customers'].items()
            if record['full_name'] in owners]

  def setups(self) -> tuple[Mapping[str, Any], ...]:
    """What the benchmark's own train tasks begin with."""
    return _setups(self)

  def initial_state(self, database: int, split: str) -> dict[str, Any]:
    """{}: there is one database, and test tasks are the benchmark's own."""
    del database, split
    return {}

  def prepared(self, start: State, setup: Sequence[State],
               records: State) -> dict[str, Any]:
    """In the benchmark's form; see `domain.Domain.prepared`."""
    if not (setup or records):
      return dict(start)
    return {'initialization_data': records and {
                'agent_data': dict(records), 'user_data': None} or None,
            'initialization_actions': list(setup) or None,
            'message_history': None}

  def scenario(self, knowledge: str, style: str, goals: Sequence[str]
               ) -> tuple[str, str]:
    raw = tau2_bench.part('data_model.tasks').UserScenario.model_validate(
        {'persona': None, 'instructions': {
            'domain': self.domain, 'reason_for_call': ' '.join(goals),
            'known_info': knowledge, 'unknown_info': None,
            'task_instructions': style}})
    return str(raw), ' '.join([*goals, knowledge, style])

  def start(self, task: types.Task) -> World:
    return World(self, task)

  def environment(self, task: types.Task) -> Any:
    """The package's, in the initial state of a task."""
    return self._environment(task)

  def score(self, task: types.Task, world: World,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    """The worst of the verdicts: checker and evaluator must agree."""
    if ended != 'user_stop':
      return types.Score(0.0)
    return min(self.verdicts(task, world, messages), key=lambda s: s.reward)

  def user_fault(self, task: types.Task, messages: Sequence[types.Message]
                 ) -> domain.UserFault | None:
    """Finds a fault of the user, of no particular kind."""
    text = self.fault(task, messages)
    return domain.UserFault('', text) if text else None

  def verdicts(self, task: types.Task, world: World,
               messages: Sequence[types.Message]) -> tuple[types.Score, ...]:
    """Of its checker, and of the benchmark's evaluator."""
    return (checkers.score(task.checker, world.state.changes(), messages),
            super().score(task, world, messages, 'user_stop'))


@functools.lru_cache(maxsize=16)  # whole databases
def _tables(env: Tau2Domain, start: str) -> state_lib.Tables:
  return _dump(env.environment(types.Task(
      '', env.name, '', initial_state=json.loads(start) or None)))


def _dump(environment: Any) -> dict[str, dict[str, Any]]:
  """table -> key -> record, of the database and of the user's device."""
  tables = environment.tools.db.model_dump(mode='json')
  if environment.user_tools:
    tables['user'] = environment.user_tools.db.model_dump(mode='json')
  return {name: _by_id(rows) for name, rows in tables.items()}


def _by_id(rows: Any) -> dict[str, Any]:
  """A table that is a list of records as one by their first field."""
  if isinstance(rows, dict):
    return rows
  return {next(iter(record.values())): record for record in rows}


@functools.lru_cache(maxsize=4)
def _setups(env: Tau2Domain) -> tuple[Mapping[str, Any], ...]:
  found = {}
  for task in env.tasks('train'):
    for action in (task.initial_state or {}).get(
        'initialization_actions') or ():
      found[jsons.dumps(action)] = action
  return tuple(found.values())


class World(tau2.World):
  """A world that knows what has changed in it, and can go back.

  Attributes:
    state: itself, as `domain.DomainWorld` has one.
  """

  def __init__(self, env: Tau2Domain, task: types.Task):
    super().__init__(env.environment(task))
    self._env, self._task, self._done = env, task, []

  @property
  def state(self) -> World:
    return self

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    self._done.append(tuple(calls))
    return super().execute(calls)

  def mark(self) -> int:
    """A point to `rewind` to."""
    return len(self._done)

  def rewind(self, mark: int) -> None:
    done, self._done = self._done[:mark], []
    self.environment = self._env.environment(self._task)
    for calls in done:
      self.execute(calls)

  def changes(self) -> dict[str, Any]:
    """See `state.State.changes`."""
    found: dict[str, Any] = {}
    base, db = self.environment.base, self.environment.tools.db
    if base and tau2_state.is_fresh(db):
      for (table, key), text in base.changes(db).items():
        state_lib.compare(*(json.loads(t or '{}') for t in (
            base.text((table, key)), text)), f'{table}.{key}', found)
    else:
      before = self._env.tables(**(self._task.initial_state or {}))
      for table, rows in _dump(self.environment).items():
        state_lib.compare(before[table], rows, table, found)
    return dict(sorted(found.items()))
