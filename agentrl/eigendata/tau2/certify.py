"""What is executed before a generated task of tau2-bench is believed.

The gold calls must run unrefused and earn 1; those who do nothing, refuse or
hand over must not, where anything is asked for. Then single things go wrong:
a write is left out, made twice, or has another value somewhere in one of its
arguments, one that the tool takes if there is such; a fact is left untold;
what the policy forbids is done. Each of these must fail, or be *equivalent*:
it ends in the very state of the gold run. The demands in another order must
earn 1 as well, for the user may raise them in any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import random
from typing import Any

from agentrl import jsons
from agentrl import seeds
from agentrl import types
from agentrl.eigendata import rejection
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2

TRIES = 3  # values for an argument, until the tool takes one
# Columns that are not in the database, or not in full: name -> values.
COLUMNS = {'reason': ('no longer needed', 'ordered by mistake'),
           'insurance': ('yes', 'no')}
Calls = Sequence[types.ToolCall]


def fresh(env: tau2.Tau2) -> env_lib.World:
  """The database of a domain in its first state."""
  return env.start(types.Task('', env.name, ''))


@functools.lru_cache(maxsize=4)
def tables(env: tau2.Tau2) -> Mapping[str, Mapping[str, Any]]:
  """The whole database in plain JSON: table -> key -> record."""
  db = fresh(env).environment.tools.db
  return {name: {key: row.model_dump(mode='json')
                 for key, row in getattr(db, name).items()}
          for name in type(db).model_fields}


@functools.lru_cache(maxsize=4)
def write_names(env: tau2.Tau2) -> frozenset[str]:
  """The tools that change something."""
  kit = fresh(env).environment.tools
  return frozenset(name for name in kit.get_tools()
                   if kit.tool_type(name).value == 'write')


def certified(env: tau2.Tau2, task: types.Task) -> types.Task:
  """The generated task with a certificate: what its evaluator did.

  Raises:
    SampleRejected: it is not to be believed.
  """
  trial = _Trial(env, task)
  if refused := trial.refused():
    raise rejection.SampleRejected(types.Worker.CERTIFICATE, 'gold is refused',
                           f'{task.id}: {refused}')
  gold = trial.passes(trial.writes)
  floors = {name: trial.passes(calls, text) for name, calls, text in (
      ('noop', (), ''), ('refuse', (), 'I am sorry, I cannot help with that.'),
      ('transfer', (types.ToolCall('transfer_to_human_agents', {
          'summary': env_lib.PLEA}),), ''))}
  asked = bool(trial.writes or task.criteria.communicate_info)
  if not gold:
    raise rejection.SampleRejected(
        types.Worker.CERTIFICATE, 'gold fails', task.id)
  if asked and any(floors.values()):
    raise rejection.SampleRejected(
        types.Worker.CERTIFICATE, 'doing nothing passes', task.id)
  if not trial.passes(trial.reversed()):
    raise rejection.SampleRejected(
        types.Worker.CERTIFICATE, 'the order of demands matters', task.id)
  killed, equivalent, total = 0, 0, 0
  for mutant in trial.mutants():
    total += 1
    if not trial.passes(mutant.calls, mutant.text):
      killed += 1
    elif mutant.harmless:
      equivalent += 1  # it passed, so the evaluator found the same state
    else:
      raise rejection.SampleRejected(types.Worker.CERTIFICATE, mutant.sign,
                             f'{task.id}: {mutant.calls[:1]}')
  return dataclasses.replace(task, certificate=types.Certificate(
      gold=(gold,), orders=(), floors=floors, mutants=total, killed=killed,
      equivalent=equivalent, survivors=(), score=1.0,
      fingerprint=env.fingerprint()))


@dataclasses.dataclass(frozen=True, slots=True)
class _Mutant:
  """A run with one thing wrong.

  Attributes:
    sign: what it means if the run passes.
    calls, text: the run.
    harmless: it may pass, as it then ends in the gold state.
  """

  sign: str
  calls: Calls
  text: str | None = None
  harmless: bool = False


class _Trial:
  """Runs over one task.

  Attributes:
    writes: the gold calls that change something.
  """

  def __init__(self, env: tau2.Tau2, task: types.Task):
    self._env, self._task = env, task
    self._rng = random.Random(seeds.seed_of(task.id))
    self.writes = [types.ToolCall(a.name, a.arguments)
                   for a in task.criteria.actions
                   if a.name in write_names(env)]
    self._facts = list(task.criteria.communicate_info)

  def passes(self, calls: Calls, text: str | None = None) -> bool:
    """Whether calls and what is said (None: all facts) earn 1."""
    if text is None:
      text = f'It is {" and ".join(self._facts)}.'
    moves = [types.Message('assistant', tool_calls=(c,)) for c in calls]
    moves += [types.Message('assistant', text)] if text else []
    moves.append(types.Message('user', dialogue.STOP))
    world, played = replay.replay(self._env, self._task, moves)
    score = self._env.score(self._task, world, played, 'user_stop')
    if score.error:
      raise ValueError(f'Task {self._task.id} cannot be judged: {score.error}')
    return score.reward == 1

  def refused(self) -> str:
    """The first gold call, look-ups included, that is refused."""
    world = self._env.start(self._task)
    for a in self._task.criteria.actions:
      result, = world.execute([types.ToolCall(a.name, a.arguments)])
      if result.error:
        return f'{a.name}: {result.content}'
    return ''

  def reversed(self) -> list[types.ToolCall]:
    """The gold writes, last demand first."""
    moves = self._task.gold.moves
    return [moves[i].tool_calls[0]
            for demand in reversed(self._task.demands) for i in demand.writes]

  def mutants(self) -> Iterator[_Mutant]:
    """Every mutant of the gold run."""
    gold = self.writes
    for i in range(len(gold)):
      yield _Mutant('a write changes nothing', [*gold[:i], *gold[i + 1:]])
      yield _Mutant('', [*gold[:i + 1], *gold[i:]], harmless=True)
      for other in self._other_arguments(i):
        yield _Mutant('', [*gold[:i], other, *gold[i + 1:]], harmless=True)
    for fact in self._facts:
      # All that would be spoken of anyway, with the ids in it.
      told = [self._task.scenario, *map(jsons.dumps, gold),
              *(f for f in self._facts if f != fact)]
      yield _Mutant('a fact is told anyway', gold, ' '.join(told))
    for demand in self._task.demands:
      for call in demand.forbidden:
        yield _Mutant('the forbidden passes', [call, *gold],
                      harmless=self._error([], call))

  def _error(self, before: Calls, call: types.ToolCall) -> bool:
    """Whether a call is refused after others."""
    world = self._env.start(self._task)
    world.execute(before)
    return world.execute([call])[0].error

  def _other_arguments(self, i: int) -> Iterator[types.ToolCall]:
    """The i-th write with one value changed, in every place of it."""
    call, before = self.writes[i], self.writes[:i]
    for name, value in call.arguments.items():
      for choices in self._other_values(name, value):
        others = [dataclasses.replace(call, arguments={
            **call.arguments, name: choice}) for choice in choices[:TRIES]]
        taken = (o for o in others if not self._error(before, o))
        yield next(taken, others[-1])

  def _other_values(self, name: str, value: Any) -> Iterator[list[Any]]:
    """For each place within a value: the value with something else there."""
    if isinstance(value, str):
      yield self._like(name, value)
    elif not isinstance(value, (list, dict)):
      yield [value + 1, value - 1]
    else:
      if isinstance(value, list) and value[1:]:
        yield [value[:-1]]
      for key in value if isinstance(value, dict) else range(len(value)):
        column = key if isinstance(value, dict) else name
        for found in self._other_values(column, value[key]):
          yield [_put(value, key, v) for v in found]

  def _like(self, name: str, value: str) -> list[str]:
    """Strings of the same columns: the customer's own first."""
    columns, places = _columns(self._env)
    alike = sorted({name, *places.get(value, ())} & columns.keys())
    near = [v for v in _of_user(self._env, self._task.meta['user'])
            if v != value and not places[v].isdisjoint(alike)]
    found = self._rng.sample(near, min(TRIES - 1, len(near)))
    for column in alike:
      peers = columns[column]
      found += self._rng.sample(peers, min(TRIES, len(peers)))
    return [v for v in found if v != value] or [f'{value} x']


def _put(value: Any, key: Any, item: Any) -> Any:
  """A list or dictionary with another item at a key."""
  value = value.copy()
  value[key] = item
  return value


@functools.lru_cache(maxsize=4)
def _columns(env: tau2.Tau2) -> tuple[dict[str, list[str]],
                                      dict[str, set[str]]]:
  """The strings of each column, keys included, and the columns of each."""
  columns: dict[str, set[str]] = {
      name: set(values) for name, values in COLUMNS.items()}
  for name, table in tables(env).items():
    for column, value in _strings(name, table):
      columns.setdefault(column, set()).add(value)
  places: dict[str, set[str]] = {}
  for column, values in columns.items():
    for value in values:
      places.setdefault(value, set()).add(column)
  return {name: sorted(v) for name, v in columns.items()}, places


@functools.lru_cache(maxsize=1024)
def _of_user(env: tau2.Tau2, user: str) -> list[str]:
  """All strings in the records of a customer."""
  return sorted({
      value for table in tables(env).values() for record in table.values()
      if record.get('user_id') == user for _, value in _strings('', record)})


def _strings(column: str, value: Any) -> Iterator[tuple[str, str]]:
  """(column, string) of all in a record, or in a table and its keys."""
  if isinstance(value, str):
    yield column, value
  elif isinstance(value, list):
    for item in value:
      yield from _strings(column, item)
  elif isinstance(value, dict):
    is_table = all(isinstance(v, dict) for v in value.values())
    yield from ((column, key) for key in value if is_table)
    for key, item in value.items():
      yield from _strings(column if is_table else key, item)
