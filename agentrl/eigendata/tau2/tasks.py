"""Generates new tasks over the benchmark's databases of airline and retail.

A task is drawn without an LLM: a customer of the database and one to three
demands that the policy of the domain decides (`airline/tasks.py`,
`retail/tasks.py`). It is a function of (seed, number) alone, has the
benchmark's own form, and is kept only with a certificate.

Nothing leaks from the evaluation: customers in tasks of the split that models
are judged on are never drawn, and a task that asks for the same as a task of
the benchmark is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import random
from typing import Any

from agentrl import jsons
from agentrl import seeds
from agentrl import types
from agentrl.eigendata import rejection
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.tau2 import certify
from agentrl.eigendata.tau2 import desk as desk_lib
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.tau2 import held_out
from agentrl.eigendata.tau2.airline import tasks as airline_tasks
from agentrl.eigendata.tau2.retail import tasks as retail_tasks
from agentrl.envs import dialogue

DOMAINS = {'airline': airline_tasks, 'retail': retail_tasks}
SIZES = {1: 4, 2: 4, 3: 2}  # demands of a task -> weight
CUSTOMERS = 200  # tried until the first demand suits one
MOST_TRIES = 20  # for each task that is wanted

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


def generate(env: tau2_domain.Tau2Domain, seed: int, count: int,
             judged_on: str = 'test') -> Iterator[sample_lib.Sample]:
  """Generates tasks of a domain until `count` are kept.

  Args:
    env: airline or retail.
    seed: seed of everything; sample `i` is `make(env, seed, i)`, unless it
      asks for the same as an earlier one.
    count: number of certified tasks wanted.
    judged_on: the split whose customers do not occur, `test` or `base`.

  Yields:
    a sample for each try: with a certified task, or with worker and reason.

  Raises:
    ValueError: another domain, or too few tasks were kept.
  """
  kept, seen = 0, set()
  for number in range(MOST_TRIES * count):
    sample = make(env, seed, number, judged_on)
    asked = sample.task and _asked(sample.task)
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


def _asked(task: types.Task) -> tuple[Any, ...]:
  """Returns customer and demands of a task, without their words."""
  texts = sorted(jsons.dumps([
      d.family, [task.gold.moves[i].tool_calls for i in d.writes], d.tell,
      d.forbidden]) for d in task.demands)
  return (task.meta['user'], *texts)


def make(env: tau2_domain.Tau2Domain, seed: int, number: int,
         judged_on: str = 'test') -> sample_lib.Sample:
  """Draws and certifies sample `number` of a seed.

  Raises:
    ValueError: there are no generated tasks for this domain.
  """
  if env.domain not in DOMAINS:
    raise ValueError(f'Tasks are generated for {" and ".join(DOMAINS)}, not '
                     f'for {env.domain}.')
  try:
    task = draft(env, seed, number, judged_on)
    if why := held_out.clash(env, task, judged_on):
      raise rejection.SampleRejected(types.Worker.DISJOINT, why, task.id)
    return sample_lib.Sample(certify.require_certificate(env, task))
  except rejection.SampleRejected as e:
    return sample_lib.Sample(rejection=e.rejection)


def draft(env: tau2_domain.Tau2Domain, seed: int, number: int,
          judged_on: str = 'test') -> types.Task:
  """Draws a task; nothing is executed yet.

  Raises:
    SampleRejected: no customer was found whom the first demand suits.
  """
  rng = random.Random(seeds.seed_of(env.domain, seed, number))
  domain = DOMAINS[env.domain]
  desk = _desk(env, domain.FAMILIES, rng, judged_on)
  # The dialogue ends with the hand-over to a human, so that demand is last.
  desk.demands.sort(key=lambda d: bool(d.transfer))
  known, unknown, reads = domain.identify(desk)
  calls, places = _calls(desk, reads)
  task = env.task(_record(desk, (known, unknown), calls, env.domain,
                          f'{env.domain}-{seed}-{number:05d}'))
  return dataclasses.replace(
      task, families=tuple(d.family for d in desk.demands),
      demands=tuple(map(_kept, desk.demands, places)),
      gold=_gold(calls, places, task.criteria.communicate_info),
      meta={'generated': True, 'user': desk.user['user_id']})


def _calls(desk: desk_lib.Desk, reads: Sequence[types.ToolCall]
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


def _kept(demand: desk_lib.DrawnDemand, writes: tuple[int, ...]
          ) -> types.TaskDemand:
  """Returns the task's record of a demand; `writes`: places of its writes."""
  asked = demand.writes or demand.facts
  return types.TaskDemand(
      demand.family, demand.want, tell=demand.facts, writes=writes,
      kind='transfer' if demand.transfer else 'do' if asked else 'refuse',
      forbidden=demand.forbidden)


def _desk(env: tau2_domain.Tau2Domain,
          families: Mapping[str, tuple[int, desk_lib.DemandFamily]],
          rng: random.Random, judged_on: str) -> desk_lib.Desk:
  """Draws a customer with one to three demands."""
  # The higher the weight, the earlier.
  drawn = sorted(families, reverse=True,
                 key=lambda name: rng.random() ** (1 / families[name][0]))
  first, names = drawn[0], held_out.customers(env, judged_on)
  for user in rng.sample(names, min(CUSTOMERS, len(names))):
    desk = desk_lib.Desk(env, user, rng, judged_on)
    if desk.add(first, families[first][1]):
      break
  else:
    raise rejection.SampleRejected(
        types.Worker.DRAW, 'no customer suits', first)
  size, = rng.choices(list(SIZES), list(SIZES.values()))
  for name in drawn[1:]:
    if len(desk.demands) < size:
      desk.add(name, families[name][1])
  return desk


def _record(desk: desk_lib.Desk, identity: tuple[str, str | None],
            calls: Sequence[types.ToolCall], domain: str, name: str
            ) -> Mapping[str, Any]:
  """Returns the task in the form of the benchmark's own.

  Args:
    desk: customer and demands.
    identity: the user's knowledge of itself, and the details that it does not
      know (None for none).
    calls: gold calls.
    domain: name of the benchmark's domain.
    name: id of the task.
  """
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
