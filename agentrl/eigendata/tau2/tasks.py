"""New tasks over the benchmark's own databases of airline and retail.

A task is drawn, not written by an LLM: a customer of the database and one to
three demands that the policy of the domain decides (`tau2_tasks_airline.py`,
`tau2_tasks_retail.py`). It is a function of (seed, number) alone, stands in
the benchmark's own form, and is kept only if what was executed says that its
verdict can be believed.

Nothing leaks from what is measured: customers that occur in tasks of the split
that models are judged on are never drawn, and what asks for the same as a task
of the benchmark is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import importlib
import json
import random
from typing import Any

from agentrl import jsons
from agentrl import seeds
from agentrl import types
from agentrl.eigendata import rejection
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.tau2 import certify as tau2_tasks_certify
from agentrl.eigendata.tau2 import held_out as tau2_held
from agentrl.envs import dialogue
from agentrl.envs.tau2 import env as tau2

DOMAINS = ('airline', 'retail')
SIZES = {1: 4, 2: 4, 3: 2}  # demands of a task -> weight
CUSTOMERS = 200  # tried until the first demand suits one
MOST_TRIES = 20  # for each task that is asked for

FIRST = ('You want to {}', 'You would like to {}', 'You contact support to {}',
         'You are calling because you want to {}')
NEXT = ('You also want to {}', 'Besides, you want to {}',
        'In addition, you want to {}', 'You would also like to {}')
MANNERS = ('', '', 'You are polite and to the point.', 'You are in a hurry.',
           'You answer only what you are asked.', 'You are a bit impatient.',
           'You like to have everything confirmed.', 'You are very chatty.',
           'You mention one thing at a time.', 'You dislike small talk.')

FIRM = ('If something is refused, you accept that and want nothing instead.',
        'In place of what is refused, you take no alternative.',
        'If the agent refuses something, ask once more, then let it be.')

# Draws a demand for the customer of a desk; None if it does not suit.
Family = Callable[['Desk'], 'Demand | None']


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
  """One thing that a customer wants.

  Attributes:
    want: it in words, as goes on after 'You want to'; sentences may follow.
    target: the order or reservation it is about; a task has it once.
    reads: look-ups that a good agent makes for it.
    writes: what the agent then does; () for questions and refusals.
    facts: what the agent must tell.
    forbidden: what is asked for, against the policy.
    transfer: why a human must take over; '' if none must.
    family: what kind of demand it is.
  """

  want: str
  target: str = ''
  reads: tuple[types.ToolCall, ...] = ()
  writes: tuple[types.ToolCall, ...] = ()
  facts: tuple[str, ...] = ()
  forbidden: tuple[types.ToolCall, ...] = ()
  transfer: str = ''
  family: str = ''


class Desk:
  """A customer at the desk, and the demands drawn so far.

  Attributes:
    rng: draws everything.
    db: table -> key -> record, in plain JSON; never changed.
    user: the customer's record.
    demands: no two with the same target.
    judged_on: the split whose customers are no one's.
  """

  def __init__(self, env: tau2.Tau2, user: str, rng: random.Random,
               judged_on: str = 'test'):
    self.rng, self.db, self.demands = rng, tau2_tasks_certify.tables(env), []
    self.user = self.db['users'][user]
    self._env, self.judged_on = env, judged_on

  def draw(self, name: str, family: Family) -> bool:
    """Adds a demand of a family, if it suits the customer."""
    demand = family(self)
    if demand is None or any(
        demand.target and d.target == demand.target
        or demand.transfer and d.transfer for d in self.demands):
      return False
    self.demands.append(dataclasses.replace(demand, family=name))
    return True

  def look(self, name: str, **arguments: Any) -> Any:
    """What a tool shows in the first state."""
    call = types.ToolCall(name, arguments)
    world = tau2_tasks_certify.fresh(self._env)
    return json.loads(world.execute([call])[0].content)

  def stranger(self) -> str:
    """Another customer who may occur in tasks."""
    others = tau2_held.customers(self._env, self.judged_on)
    return self.rng.choice([u for u in others if u != self.user['user_id']])

  def pick(self, records: Sequence[Any]) -> Any:
    """One of the records; None if there are none."""
    return self.rng.choice(records) if records else None

  def ask(self, amount: float, words: str) -> tuple[str, tuple[str, ...]]:
    """Now and then the question for an amount, with what answers it."""
    if amount < 10 or self.rng.random() < 0.75:  # '5' is said anyway
      return '', ()
    return f' You want to know {words}.', (figure(amount),)

  def method(self, key: str) -> str:
    """A payment method of the customer as the customer would put it."""
    methods = self.user['payment_methods']
    one = methods[key]
    kind = {'paypal': 'PayPal account'}.get(
        one['source'], one['source'].replace('_', ' '))
    if sum(m['source'] == one['source'] for m in methods.values()) == 1:
      return f'your {kind}'
    if 'last_four' in one and self.rng.random() < 0.5:
      return f'your {kind} ending in {one["last_four"]}'
    return f'your {kind} {key}'


def about(inner: Callable[[Desk, Any], Demand | None],
          records: Callable[[Desk], Sequence[Any]],
          named: Callable[[Desk, Any], tuple[str, str, Sequence[Any]]], *,
          allowed: bool = True) -> Family:
  """A family of demands about one record of the customer.

  Args:
    inner: the demand about a record, with a gap for the record in its words.
    records: those that it can be about.
    named: id of a record, what the user calls it, and how it is found.
    allowed: by the policy. If not, the writes of `inner` must not be made.
  """
  def family(desk: Desk) -> Demand | None:
    record = desk.pick(records(desk))
    demand = record and inner(desk, record)
    # Who is refused a thing is not told what it costs.
    if not demand or demand.facts and not allowed:
      return None
    key, words, reads = named(desk, record)
    demand = dataclasses.replace(
        demand, target=key, want=demand.want.format(words),
        reads=(*reads, *demand.reads))
    return demand if allowed else dataclasses.replace(
        demand, writes=(), forbidden=demand.writes)
  return family


def listed(words: Sequence[str]) -> str:
  *most, last = words
  return f'{", ".join(most)} and {last}' if most else last


def figure(amount: float) -> str:
  """An amount of money as a fact: part of it with or without cents."""
  return f'{amount:.2f}'.rstrip('0').rstrip('.')


def generate(env: tau2.Tau2, seed: int, count: int, judged_on: str = 'test'
             ) -> Iterator[sample_lib.Sample]:
  """Tasks of a domain until `count` are kept, and those that were not.

  Args:
    env: airline or retail.
    seed: of everything; sample `i` is `make(env, seed, i)`, unless it asks
      for what one before it did.
    count: certified tasks wanted.
    judged_on: the split whose customers do not occur, `test` or `base`.

  Yields:
    a sample for each try: with a certified task, or with worker and reason.

  Raises:
    ValueError: another domain, or they ran out before.
  """
  kept, seen = 0, set()
  for number in range(MOST_TRIES * count):
    sample = make(env, seed, number, judged_on)
    asked = sample.task and _asked(env, sample.task)
    if sample.task and asked in seen:
      sample = sample_lib.Sample(rejection=types.Rejection(
          types.Worker.DUPLICATES, 'seen before', sample.task.id))
    seen.add(asked)
    kept += sample.task is not None
    yield sample
    if kept == count:
      return
  if count:
    raise ValueError(f'Only {kept} of {count} tasks for {env.name} after '
                     f'{number + 1} tries: ask for fewer.')


def _asked(env: tau2.Tau2, task: types.Task) -> tuple[Any, ...]:
  """Returns what a task asks for, whatever its words."""
  texts = sorted(jsons.dumps([
      d.family, [task.gold.moves[i].tool_calls for i in d.writes], d.tell,
      d.forbidden]) for d in task.demands)
  return (task.meta['user'], *texts)


def make(env: tau2.Tau2, seed: int, number: int,
         judged_on: str = 'test') -> sample_lib.Sample:
  """Sample `number` of a seed.

  Raises:
    ValueError: of this domain no tasks are generated.
  """
  if env.domain not in DOMAINS:
    raise ValueError(f'Tasks are generated for {" and ".join(DOMAINS)}, not '
                     f'for {env.domain}.')
  try:
    task = draft(env, seed, number, judged_on)
    if why := tau2_held.clash(env, task, judged_on):
      raise rejection.SampleRejected(types.Worker.DISJOINT, why, task.id)
    return sample_lib.Sample(tau2_tasks_certify.certified(env, task))
  except rejection.SampleRejected as e:
    return sample_lib.Sample(rejection=e.rejection)


def draft(env: tau2.Tau2, seed: int, number: int,
          judged_on: str = 'test') -> types.Task:
  """A task as drawn, before anything is executed.

  Raises:
    SampleRejected: no customer was found whom the first demand suits.
  """
  rng = random.Random(seeds.seed_of(env.domain, seed, number))
  shop = importlib.import_module(f'agentrl.eigendata.tau2.{env.domain}.tasks')
  desk = _desk(env, shop.FAMILIES, rng, judged_on)
  # What ends with a human comes last: the dialogue ends there.
  desk.demands.sort(key=lambda d: bool(d.transfer))
  known, unknown, reads = shop.identify(desk)
  calls, places = _calls(desk, reads)
  task = env.task(_record(desk, (known, unknown), calls, env.domain,
                          f'{env.domain}-{seed}-{number:05d}'))
  return dataclasses.replace(
      task, families=tuple(d.family for d in desk.demands),
      demands=tuple(map(_kept, desk.demands, places)),
      gold=_gold(calls, places, task.criteria.communicate_info),
      meta={'generated': True, 'user': desk.user['user_id']})


def _calls(desk: Desk, reads: Sequence[types.ToolCall]
           ) -> tuple[list[types.ToolCall], list[tuple[int, ...]]]:
  """Returns the gold calls, and the places of each demand's writes in them."""
  calls, places = list(reads), []
  for d in desk.demands:
    calls += [c for c in d.reads if c not in calls]
    places.append(tuple(range(len(calls), len(calls) + len(d.writes))))
    calls += d.writes
    if d.transfer:
      calls.append(types.ToolCall('transfer_to_human_agents',
                                  {'summary': d.transfer}))
  return calls, places


def _gold(calls: Sequence[types.ToolCall], places: Sequence[tuple[int, ...]],
          facts: Sequence[str]) -> types.GoldRun:
  """Returns the calls and the facts as moves of the agent, and the goodbye."""
  moves = [types.Message('assistant', tool_calls=(c,)) for c in calls]
  if facts:
    moves.append(types.Message('assistant', f'It is {" and ".join(facts)}.'))
  moves.append(types.Message('user', dialogue.STOP, requestor='user'))
  return types.GoldRun(tuple(moves), tuple(i for p in places for i in p))


def _kept(demand: Demand, writes: tuple[int, ...]) -> types.TaskDemand:
  """Returns what a task keeps of a demand, whose writes are in these places."""
  asked = demand.writes or demand.facts
  return types.TaskDemand(
      demand.family, demand.want, tell=demand.facts, writes=writes,
      kind='transfer' if demand.transfer else 'do' if asked else 'refuse',
      forbidden=demand.forbidden)


def _desk(env: tau2.Tau2, families: Mapping[str, tuple[int, Family]],
          rng: random.Random, judged_on: str) -> Desk:
  """A customer with one to three demands."""
  # The higher the weight, the earlier.
  drawn = sorted(families, reverse=True,
                 key=lambda name: rng.random() ** (1 / families[name][0]))
  first, names = drawn[0], tau2_held.customers(env, judged_on)
  for user in rng.sample(names, min(CUSTOMERS, len(names))):
    desk = Desk(env, user, rng, judged_on)
    if desk.draw(first, families[first][1]):
      break
  else:
    raise rejection.SampleRejected(
        types.Worker.DRAW, 'no customer suits', first)
  size, = rng.choices(list(SIZES), list(SIZES.values()))
  for name in drawn[1:]:
    if len(desk.demands) < size:
      desk.draw(name, families[name][1])
  return desk


def _record(desk: Desk, identity: tuple[str, str | None],
            calls: Sequence[types.ToolCall], domain: str, name: str
            ) -> Mapping[str, Any]:
  """The task in the form of the benchmark's own."""
  rng, demands = desk.rng, desk.demands
  known, unknown = identity
  wants = [rng.choice(NEXT if i else FIRST).format(d.want)
           for i, d in enumerate(demands)]
  told = [rng.choice(MANNERS)]
  if not all(d.writes or d.facts or d.transfer for d in demands):
    told.append(rng.choice(FIRM))
  return dict(
      id=name, initial_state=None,
      description=dict(purpose=' + '.join(d.family for d in demands),
                       relevant_policies=None, notes=None),
      user_scenario=dict(persona=None, instructions=dict(
          domain=domain, reason_for_call=' '.join(wants), known_info=known,
          unknown_info=unknown,
          task_instructions=' '.join(filter(None, told)))),
      evaluation_criteria=dict(
          actions=[dict(action_id=f'{name}_{i}', name=c.name, info=None,
                        arguments=c.arguments) for i, c in enumerate(calls)],
          communicate_info=[f for d in demands for f in d.facts],
          nl_assertions=None, reward_basis=['DB', 'COMMUNICATE']))
