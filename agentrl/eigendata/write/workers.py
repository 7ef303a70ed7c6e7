"""The workers, in order; each takes what the one before gives, or rejects.

RandomPool -> UserIntent -> TaskValidation -> ValidationFunction (with its
certificate); then DialogSynthesis (`talks.py`) and TrajectoryValidation
(`judge.py`). Modify, which sends back what failed once, stands in `sample.py`.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
import dataclasses
import functools
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata.check import mutants
from agentrl.eigendata.plan import planner
from agentrl.envs import dialogue
from agentrl.envs import domain
from agentrl.envs import replay

# Kinds by which TaskValidation turns down what the user is told.
CONTRADICTION, MISSING_DEMAND = 'contradiction', 'missing demand'
WRONG_ENTITY, MISSING_DETAIL = 'wrong entity', 'missing detail'
DETAIL_KINDS = (CONTRADICTION, MISSING_DEMAND, WRONG_ENTITY, MISSING_DETAIL)
TRIES = 40  # callers and orders, until a combination fits
GOODBYE = {
    dialogue.STOP: (
        'Thanks, bye! ###STOP###', 'That is all, thank you. ###STOP###',
        'Great, goodbye. ###STOP###', 'That was it. ###STOP###'),
    dialogue.TRANSFER: (
        'Okay, I will wait. ###TRANSFER###', '###TRANSFER###',
        'Thank you. ###TRANSFER###')}


@dataclasses.dataclass(frozen=True, slots=True)
class Seeds:
  """What RandomPool draws: who calls, what about, and in which mood."""

  plan: planner.Plan
  start: Mapping[str, Any]  # the task's initial state
  knowledge: str
  opening: tuple[types.Beat, ...]
  drafts: tuple[domain.Demand, ...]
  others: tuple[str, ...]  # entities of other callers
  wish: Wish | None = None  # in place of drafts, where a domain has none


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
  """What a task shall be about that somebody has yet to think of.

  Attributes:
    families: tools of the agent, one for each demand.
    other: not all of it shall simply be done.
    records: of the caller and around, table -> key -> record.
  """

  families: tuple[str, ...]
  other: bool
  records: Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Intent:
  """What UserIntent wrote: the user's scenario, and the exchange it implies;
  and the critique of the last dialogue that was played by it."""

  scenario: str
  demands: tuple[domain.Demand, ...]
  script: tuple[types.Beat, ...]
  brief: str = ''
  critique: str = ''


def random_pool(env: domain.Domain, plan: planner.Plan, seed: int, *,
                database: int, other_share: float) -> Seeds:
  """Draws caller, demands and style of one sample.

  Args:
    env: of the plan's domain.
    plan: what to draw from.
    seed: of the draw.
    database: seed of the tables.
    other_share: of tasks in which not every demand is simply done.

  Raises:
    SampleRejected: no caller was found that the plan fits.
  """
  rng = random.Random(seed)
  wants_other = rng.random() < other_share
  start = {'seed': database, 'split': plan.split}
  blank = types.Task('', env.name, '', initial_state=start)
  callers, entities = _people(env, database, plan.split)
  for _ in range(TRIES):
    names = rng.choices(plan.combinations, plan.emphasis or None)[0]
    names = rng.sample(names, len(names))
    caller, world = rng.choice(callers), env.start(blank)
    drafts = _draft(env, world, caller, names, rng)
    if drafts and (kind(drafts) != 'do') == wants_other:
      knowledge, opening = env.drafts.opening(world.state, caller)
      return Seeds(plan, start, knowledge, tuple(opening), drafts,
                   tuple(rng.sample(entities, min(6, len(entities)))))
  raise rejection.SampleRejected(
      types.Worker.RANDOM_POOL, 'no caller fits', plan.id)


@functools.lru_cache(maxsize=256)
def _people(env: domain.Domain, database: int, split: str
            ) -> tuple[list[str], list[str]]:
  """Callers, and the names of all entities."""
  state = env.start(types.Task('', env.name, '', initial_state={
      'seed': database, 'split': split})).state
  pattern = mutants.entity(env, otherwise=r'.+')
  tables = env.tables(database, split)
  keys = {k for rows in tables.values() for k in rows
          if re.fullmatch(pattern, k)}
  return list(env.drafts.callers(state)), sorted(keys)


def _draft(env: domain.Domain, world: domain.DomainWorld, caller: str,
           names: Sequence[str], rng: random.Random
           ) -> tuple[domain.Demand, ...]:
  """Demands one after another, each on the state that the last one leaves."""
  families = {f.__name__: f for f in env.drafts.FAMILIES}
  drafts: list[domain.Demand] = []
  for name in names:
    demand = families[name](world.state, caller, rng)
    handed_over = drafts and drafts[-1].kind == 'transfer'
    if demand is None or handed_over:
      return ()
    for beat in demand.beats:
      if beat.call:
        world.execute([types.ToolCall(
            beat.call, beat.arguments, requestor=beat.by)])
    drafts.append(demand)
  return tuple(drafts)


def kind(demands: Sequence[domain.Demand]) -> str:
  """Kind of a task: `do` if every demand is, else of the last that is not."""
  others = [d.kind for d in demands if d.kind != 'do']
  return others[-1] if others else 'do'


def user_intent(author: prompts.Author, seeds: Seeds, seed: int) -> Intent:
  """Has the scenario written.

  Raises:
    SampleRejected: a demand is of no draft.
  """
  payload = {'knowledge': seeds.knowledge,
             'style': planner.STYLES[seeds.plan.style],
             'drafts': [{k: getattr(d, k) for k in (
                 'goal', 'about', 'answers', 'kind')} for d in seeds.drafts],
             'others': seeds.others}
  value = author.write('intent', payload, seed)
  drafts = dict(enumerate(seeds.drafts))
  if not value['demands'] or any(
      d['draft'] not in drafts for d in value['demands']):
    raise rejection.SampleRejected(
        types.Worker.USER_INTENT, 'no such draft', repr(value['demands']))
  demands = tuple(dataclasses.replace(drafts[d['draft']], goal=d['goal'])
                  for d in value['demands'])
  return Intent(value['scenario'], demands, script(seeds.opening, demands))


def script(opening: Sequence[types.Beat], demands: Sequence[domain.Demand]
           ) -> tuple[types.Beat, ...]:
  """One exchange out of the demands' own: who the user is comes after what
  they ask first, the goodbye at the end."""
  beats = []
  for i, demand in enumerate(demands):
    first, *rest = demand.beats
    beats.append(dataclasses.replace(first, demand=i, opens=i > 0))
    if i == 0:
      beats += [dataclasses.replace(b, opening=True) for b in opening]
    beats += [dataclasses.replace(b, demand=i) for b in rest]
  over = demands[-1].kind == 'transfer'
  bye = domain.says('user', *GOODBYE[
      dialogue.TRANSFER if over else dialogue.STOP])
  return (*beats, dataclasses.replace(bye, demand=len(demands) - 1))


def validate_task(env: domain.Domain, seeds: Seeds, intent: Intent, *,
                  name: str, seed: int) -> types.Task:
  """The task of an intent, if its gold exchange can be carried out.

  Raises:
    SampleRejected: a demand stands there twice, a detail is missing from the
      scenario, a call is refused, or the user would have to make things up.
  """
  demands = intent.demands
  if len({(d.family, d.about, d.answers) for d in demands}) < len(demands):
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, CONTRADICTION, intent.scenario)
  for demand in demands:
    _find_details(env, demand, intent.scenario)
  task = types.Task(
      name, env.name, intent.scenario, initial_state=dict(seeds.start) or None,
      kind=kind(demands), families=tuple(d.family for d in demands))
  moves = replay.render(intent.script, random.Random(seed))
  try:
    _, end = replay.enact(env, task, moves)
  except replay.Unplayable as e:
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, 'gold fails', str(e)) from e
  if fault := env.fault(task, end.messages):
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, 'ungrounded', fault)
  writes = mutants.writes(env, task, moves)
  # Without drafts nobody knows which way there the policy asks for.
  agreed = _agreed(intent.script, writes) if env.drafts else ()
  return dataclasses.replace(
      task, criteria=_criteria(env, demands, moves, writes),
      split=seeds.plan.split, brief=intent.brief,
      gold=types.GoldRun(tuple(moves), tuple(writes), tuple(agreed)),
      demands=tuple(_record(d, [
          k for k in writes if moves[k].role == 'assistant'
          and intent.script[k].demand == i]) for i, d in enumerate(demands)),
      meta={'plan': {'id': seeds.plan.id, 'style': seeds.plan.style}})


def _record(demand: domain.Demand, writes: Sequence[int] = ()
            ) -> types.TaskDemand:
  """Returns what a task keeps of a demand, whose writes are in these places."""
  return types.TaskDemand(
      demand.family, demand.goal, tell=demand.tell, kind=demand.kind,
      writes=tuple(writes), about=demand.about,
      forbidden=tuple(types.ToolCall(b.call, b.arguments)
                      for b in demand.forbidden),
      answers=tuple((word, _last_call(demand)) for word in demand.answers))


def _agreed(script: Sequence[types.Beat], writes: Sequence[int]
            ) -> list[tuple[int, str]]:
  """Places of the agent's writes, with what of them users agree to right
  before, in every wording.

  Where a yes covers several, a later one that has no value of its own is part
  of what was agreed to: an agent that reports the first in between has no need
  to ask for it again.
  """
  most = max(len(beat.say) for beat in script)
  wordings = [replay.render(
      [dataclasses.replace(b, say=b.say and (b.say[k % len(b.say)],))
       for b in script], random.Random(0)) for k in range(most)]
  found, covered = [], set()  # values of the writes since somebody spoke
  for i, beat in enumerate(script):
    if beat.say:
      covered = set()
    values = list(map(str, beat.arguments.values()))
    if i not in writes or beat.by != 'assistant' or covered.issuperset(
        values):
      continue
    covered.update(values)
    found += [(i, value) for value in values
              if all(mutants.agreed(moves, beat.call, [value])
                     for moves in wordings)]
  return found


def _last_call(demand: domain.Demand) -> str:
  """What the agent does in the end, '' if nothing."""
  calls = [b.call for b in demand.beats if b.call and b.by == 'assistant']
  return calls[-1] if calls else ''


def _find_details(env: domain.Domain, demand: domain.Demand,
                  scenario: str) -> None:
  """Rejects a demand that the user could not put right from the scenario."""
  if demand.goal not in scenario:
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, MISSING_DEMAND, demand.goal)
  missing = [w for w in (*demand.about, *demand.answers)
             if w.lower() not in demand.goal.lower()]
  if not missing:
    return
  named = re.findall(mutants.entity(env), demand.goal)
  said = ' '.join(words for beat in demand.beats for words in beat.say)
  wrong = [entity for entity in named if entity not in said]
  raise rejection.SampleRejected(
      types.Worker.TASK_VALIDATION,
      WRONG_ENTITY if wrong else MISSING_DETAIL,
      f'{", ".join(missing)}: {demand.goal}')


def _criteria(env: domain.Domain, demands: Sequence[domain.Demand],
              moves: replay.Moves, writes: Sequence[int]) -> types.Criteria:
  """Gold actions, told facts; actions that write are marked by `info`."""
  actions = tuple(
      types.Action(call.name, call.arguments, call.requestor, f'gold.{i}',
                   info='write' if i in writes else None)
      for i, move in enumerate(moves) for call in move.tool_calls)
  facts = tuple(dict.fromkeys(f for d in demands for f in d.tell))
  return types.Criteria(actions, communicate_info=facts,
                        reward_basis=env.basis)


def write_checker(author: prompts.Author, env: domain.Domain, task: types.Task,
                  intent: Intent, *, critique: str, seed: int) -> types.Task:
  """ValidationFunction: has the checker written, or mended.

  Args:
    author: who writes it.
    env: of the task.
    task: as TaskValidation gave it, or with the checker to mend.
    intent: what the task was made from.
    critique: what was wrong with the last one.
    seed: of what is written.
  """
  moves = task.gold.moves
  world, _ = replay.replay(env, task, moves)
  writes = [moves[i].tool_calls[0] for i in task.gold.writes]
  ways = [c for c in writes if c.requestor == 'assistant' and env.drafts]
  place = mutants.first_call(moves)
  first = '' if place is None else moves[place].tool_calls[0].name
  # A forbidden call is made no time, also where another one undoes it. Without
  # drafts nobody knows how often a tool may be used that is right elsewhere.
  free = set() if env.drafts else {c.name for m in moves for c in m.tool_calls}
  times = collections.Counter({c.name: 0 for d in task.demands
                               for c in d.forbidden if c.name not in free})
  times.update(c.name for c in ways)
  payload = {
      'changes': world.state.changes(), 'tell': task.criteria.communicate_info,
      'before': sorted({(first, c.name) for c in ways if c.name != first}),
      'confirmed': sorted({(moves[i].tool_calls[0].name, about)
                           for i, about in task.gold.agreed}),
      'times': dict(sorted(times.items())),
      'words': [b.say[0] for b in intent.script
                if b.by == 'assistant' and b.say],
      'code': task.checker, 'critique': critique}
  return dataclasses.replace(
      task, checker=author.write('checker', payload, seed)['code'])
