"""Makes a domain of tau2-bench writable for the data engine.

An LLM invents new tasks over the benchmark's tools and databases
(`write/invented.py`). A task has the benchmark's own form and is judged by its
evaluator (end state and facts told). Its checker says the same in Python, and
the certificate shows that it agrees with the evaluator. Where the databases
lack the records or settings that a task needs, it begins with some of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
import json
from typing import Any

from agentrl import jsons
from agentrl import resolve
from agentrl import types
from agentrl.eigendata.tau2 import database as database_lib
from agentrl.eigendata.tau2 import held_out
from agentrl.envs import checkers
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import state as state_lib
from agentrl.envs.tau2 import env as tau2_env
from agentrl.envs.tau2 import package
from agentrl.envs.tau2 import state as tau2_state

JUDGED_ON = ('test', 'base')  # splits that models can be judged on

State = Mapping[str, Any]


class Tau2Domain(tau2_env.Tau2):
  """Implements `source.WritableEnv` for one of the benchmark's domains.

  Args:
    domain: airline, retail or telecom.
    judged_on: evaluation split; its customers and tasks are never used.
    **options: options of `tau2_env.Tau2`.

  Attributes: see `source.WritableEnv`.
  """

  basis = ('DB', 'COMMUNICATE')
  entity = ''

  def __init__(self, domain: str = 'telecom', *, judged_on: str = 'test',
               **options: Any):
    super().__init__(domain, **options)
    self.policy, self.judged_on = self._bench.policy, judged_on

  def tables(self, **start: Any) -> state_lib.Tables:
    """Returns the database, and the user's device if there is one."""
    return database_lib.tables(self, jsons.dumps(start))

  def demand_tools(self) -> list[str]:
    """Returns the tools of both sides that change something."""
    return sorted(n for n in self._bench.writes
                  if not n.startswith(env_lib.TRANSFER_TOOL))

  def callers(self, tables: state_lib.Tables) -> list[str]:
    """Returns the customers outside tasks that models are judged on; of telecom
    those with a phone that the benchmark can set up."""
    if self.domain != 'telecom':
      return held_out.customers(self, self.judged_on)
    owners = {s['arguments'].get('name') for s in self.setups()}
    return [key for key, record in tables['customers'].items()
            if record['full_name'] in owners]

  def setups(self) -> tuple[Mapping[str, Any], ...]:
    """Returns the initial actions of the benchmark's own train tasks."""
    return _setups(self)

  def initial_state(self, database: int, split: str) -> dict[str, Any]:
    """Returns {}: there is one database, and no test task is written."""
    del database, split
    return {}

  def prepared(self, start: State, setup: Sequence[State],
               records: State) -> dict[str, Any]:
    """Returns an initial state in the benchmark's form."""
    if not (setup or records):
      return dict(start)
    return {'initialization_data': records and {
                'agent_data': dict(records), 'user_data': None} or None,
            'initialization_actions': list(setup) or None,
            'message_history': None}

  def scenario(self, knowledge: str, style: str, goals: Sequence[str]
               ) -> tuple[str, str]:
    raw = package.part('data_model.tasks').UserScenario.model_validate(
        {'persona': None, 'instructions': {
            'domain': self.domain, 'reason_for_call': ' '.join(goals),
            'known_info': knowledge, 'unknown_info': None,
            'task_instructions': style}})
    return str(raw), ' '.join([*goals, knowledge, style])

  def start(self, task: types.Task) -> RewindableWorld:
    return RewindableWorld(self, task)

  def environment(self, task: types.Task) -> Any:
    """Returns the package's environment in the initial state of a task."""
    return self._environment(task)

  def score(self, task: types.Task, world: RewindableWorld,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    """Returns the worst of the verdicts: checker and evaluator must agree."""
    if ended != 'user_stop':
      return types.Score(0.0)
    return min(self.verdicts(task, world, messages), key=lambda s: s.reward)

  def user_fault(self, task: types.Task, messages: Sequence[types.Message]
                 ) -> domain.UserFault | None:
    """Finds a fault of the user, of no particular kind."""
    text = self.fault(task, messages)
    return domain.UserFault('', text) if text else None

  def verdicts(self, task: types.Task, world: RewindableWorld,
               messages: Sequence[types.Message]) -> tuple[types.Score, ...]:
    """Returns the verdicts of its checker, if there is one, and of the
    benchmark's own evaluator."""
    own = super().score(task, world, messages, 'user_stop')
    if not task.checker:
      return (own,)
    return (checkers.score(task.checker, world.state.changes(), messages), own)

  def database(self, **initial_state: Any) -> str:
    """Returns '': the package brings the databases along."""
    del initial_state
    return ''

  def entities(self, task: types.Task, texts: Sequence[str]) -> frozenset[str]:
    """Returns the customers that texts name; of telecom, in which all tasks are
    about the same customer, one name for everything that is wrong at the
    start."""
    if self.domain != 'telecom':
      return frozenset(held_out.owners_in(self, ' '.join(texts)))
    actions = (task.initial_state or {}).get('initialization_actions') or ()
    wrong = sorted(jsons.dumps([a['func_name'], a['arguments']])
                   for a in actions)
    return frozenset([' '.join(wrong)] if wrong else [])

  def database_texts(self, task: types.Task) -> list[str]:
    """Returns the databases of both sides at the start of a task."""
    world = self.start(task)
    kits = (world.environment.tools, world.environment.user_tools)
    return [kit.db.model_dump_json() for kit in kits if kit and kit.db]


def load(name: str, options: Mapping[str, Any] | None = None,
         judged_on: str = 'test') -> Tau2Domain:
  """Returns a domain of the benchmark to write for.

  Args:
    name: `tau2:<domain>`.
    options: options of `Tau2Domain`.
    judged_on: the split that models are judged on.
  """
  return resolve.call(Tau2Domain, {
      'domain': name.removeprefix('tau2:'), 'judged_on': judged_on,
      **(options or {})})


@functools.lru_cache(maxsize=4)
def _setups(env: Tau2Domain) -> tuple[Mapping[str, Any], ...]:
  actions = {}
  for task in env.tasks('train'):
    for action in (task.initial_state or {}).get(
        'initialization_actions') or ():
      actions[jsons.dumps(action)] = action
  return tuple(actions.values())


class RewindableWorld(tau2_env.Tau2World):
  """Plays in an environment whose changes can be listed and taken back.

  Attributes:
    state: the world itself, in the role of `source.WritableState`.
  """

  def __init__(self, env: Tau2Domain, task: types.Task):
    super().__init__(env.environment(task), env.solo)
    self._env, self._task, self._done = env, task, []

  @property
  def state(self) -> RewindableWorld:
    return self

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    self._done.append(tuple(calls))
    return super().execute(calls)

  def mark(self) -> int:
    """Returns a point to `rewind` to."""
    return len(self._done)

  def rewind(self, mark: int) -> None:
    """Restores the state at a mark by making the calls before it again."""
    done, self._done = self._done[:mark], []
    self.environment = self._env.environment(self._task)
    for calls in done:
      self.execute(calls)

  def changes(self) -> dict[str, Any]:
    """Returns every changed field; see `state.State.changes`."""
    changes: dict[str, Any] = {}
    base, db = self.environment.base, self.environment.tools.db
    if base and tau2_state.is_fresh(db):
      for (table, key), text in base.changes(db).items():
        state_lib.compare(*(json.loads(t or '{}') for t in (
            base.text((table, key)), text)), f'{table}.{key}', changes)
    else:
      before = self._env.tables(**(self._task.initial_state or {}))
      for table, rows in database_lib.dump(self.environment).items():
        state_lib.compare(before[table], rows, table, changes)
    return dict(sorted(changes.items()))
