"""Goals that an LLM thinks of, for domains that bring no drafts.

RandomPool draws a caller with the records around them. UserIntent (role `goal`)
thinks of what they want, and of the calls by which a good agent answers it.
These are executed, all that they use and tell must have come from somewhere,
and a reviewer (role `review`) looks at what the tools said. From there on a
goal is a `domain.Demand` like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import json
import random
from typing import Any

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata.check import judge
from agentrl.eigendata.plan import planner
from agentrl.eigendata.write import workers
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import replay

HOPS = 2  # from the caller to a record that is shown
MOST_RECORDS = 6  # of a table
MOST_ITEMS = 12  # of an object or a list within a record
OTHERS = 6  # callers of no matter here
MOST_FACT = 60  # characters that the agent must say


def pool(env: domain.Domain, plan: planner.Plan, seed: int, *, database: int,
         other_share: float) -> workers.Seeds:
  """RandomPool: a caller, the records around them, and a wish.

  Args: see `workers.random_pool`.

  Raises:
    SampleRejected: there is no caller.
  """
  rng = random.Random(seed)
  names, = rng.choices(plan.combinations, plan.emphasis or None)
  start = env.initial_state(database, plan.split)
  tables = env.tables(**start)
  callers = env.callers(tables)
  if not callers:
    raise rejection.SampleRejected(
        types.Worker.RANDOM_POOL, 'no caller fits', plan.id)
  caller = rng.choice(callers)
  # Not just any names: those who are judged on are nobody's.
  others = sorted({*callers} - {caller})
  wish = workers.Wish(tuple(names), rng.random() < other_share,
                      around(tables, caller, rng))
  return workers.Seeds(
      plan, start, knowledge='', opening=(), drafts=(), wish=wish,
      others=tuple(rng.sample(others, min(OTHERS, len(others)))))


def around(tables: Mapping[str, Mapping[str, Any]], caller: str,
           rng: random.Random) -> dict[str, dict[str, Any]]:
  """The caller's record, and those that name it or are named by it, and so on:
  table -> key -> record, long ones cut."""
  seen, front = {caller}, {caller}
  for _ in range(HOPS):
    named = {word for rows in tables.values() for key in front & rows.keys()
             for word in _strings(rows[key])}
    near = [[key for key, record in rows.items() if key not in seen and (
        key in named or not front.isdisjoint(_strings(record)))]
            for rows in tables.values()]
    front = {key for keys in near
             for key in rng.sample(keys, min(MOST_RECORDS, len(keys)))}
    seen |= front
  return {table: found for table, rows in tables.items() if (found := {
      key: _cut(rows[key], rng) for key in sorted(seen & rows.keys())})}


def _strings(value: Any, *, keys: bool = True) -> Iterator[str]:
  """All strings in a record; with `keys` those of objects in it too."""
  match value:
    case str():
      yield value
    case Mapping():
      if keys:
        yield from value
      yield from _strings(list(value.values()), keys=keys)
    case list():
      for item in value:
        yield from _strings(item, keys=keys)


def _cut(value: Any, rng: random.Random) -> Any:
  """A record with some items only of whatever has many."""
  if isinstance(value, Mapping):
    keys = list(value)
    if len(keys) > MOST_ITEMS and all(
        isinstance(v, (Mapping, list)) for v in value.values()):
      keys = sorted(rng.sample(keys, MOST_ITEMS))
    return {key: _cut(value[key], rng) for key in keys}
  if isinstance(value, list):
    return [_cut(item, rng) for item in value[:MOST_ITEMS]]
  return value


def think(author: prompts.Author, env: domain.Domain, seeds: workers.Seeds, *,
          critique: str, seed: int) -> tuple[workers.Seeds, workers.Intent]:
  """UserIntent: has the demands thought of.

  Args:
    author: who thinks.
    env: of the plan's domain.
    seeds: with a wish.
    critique: what was wrong with the last ones.
    seed: of what is written.

  Returns:
    the seeds with the state that the task begins with, and the intent.

  Raises:
    SampleRejected: it is not what was wished for, or a call is refused.
  """
  blank, wish = types.Task('', env.name, ''), seeds.wish
  value = author.write('goal', {
      'policy': env.policy, 'tools': {
          side: [s['function'] for s in env.tools(side, blank)]
          for side in ('assistant', 'user')},
      'records': wish.records, 'families': wish.families, 'other': wish.other,
      'style': planner.STYLES[seeds.plan.style], 'setups': env.setups(),
      'critique': critique}, seed)
  seeds = dataclasses.replace(
      seeds, start=_start(env, seeds, value),
      knowledge=' '.join(value['knowledge'].split()))
  if not seeds.knowledge:
    raise rejection.SampleRejected(types.Worker.USER_INTENT, 'nobody calls')
  demands = tuple(_carried_out(env, seeds, value['demands']))
  if sorted(d.family for d in demands) != sorted(wish.families):
    raise rejection.SampleRejected(types.Worker.USER_INTENT, 'other families',
                           f'{[d.family for d in demands]}')
  if (workers.kind(demands) != 'do') != wish.other:
    raise rejection.SampleRejected(types.Worker.USER_INTENT, 'another kind',
                           f'{[d.kind for d in demands]}')
  scenario, brief = env.scenario(
      seeds.knowledge, planner.STYLES[seeds.plan.style],
      [d.goal for d in demands])
  opening = (
      domain.says('assistant', 'Who am I talking to?',
                  'May I ask you to identify yourself?'),
      domain.says('user', seeds.knowledge, f'Of course. {seeds.knowledge}'))
  return seeds, workers.Intent(
      scenario, demands, workers.script(opening, demands), brief)


def _start(env: domain.Domain, seeds: workers.Seeds,
           value: Mapping[str, Any]) -> dict[str, Any]:
  """The initial state that an answer asks for."""
  setups = env.setups()
  if wrong := [i for i in value['setup'] if not 0 <= i < len(setups)]:
    raise rejection.SampleRejected(
        types.Worker.USER_INTENT, 'no such setup', f'{wrong}')
  start = env.prepared(
      seeds.start, [setups[i] for i in dict.fromkeys(value['setup'])],
      value['records'])
  try:
    env.tables(**start)
  except Exception as e:  # whatever a tool or a data model thinks of it
    raise rejection.SampleRejected(types.Worker.TASK_VALIDATION, 'setup fails',
                           f'{type(e).__name__}: {e!s:.300}') from e
  return start


def _carried_out(env: domain.Domain, seeds: workers.Seeds,
                 answers: Sequence[Mapping[str, Any]]
                 ) -> Iterator[domain.Demand]:
  """Each demand with its exchange, executed one after another.

  Raises:
    SampleRejected: a call is refused, a value or a fact is from nowhere, or
      nothing comes of it.
  """
  world = env.start(types.Task('', env.name, '',
                               initial_state=seeds.start or None))
  tools = env.tools('assistant', types.Task('', env.name, ''))
  # What a value may be from (tools have choices), and what a fact may be from:
  # not what the user says himself.
  named = f'{seeds.knowledge} {json.dumps(tools, ensure_ascii=False)}'
  learnt = env.policy
  for i, answer in enumerate(answers):
    goal, beats, changed = ' '.join(answer['goal'].split()), [], False
    if not (goal and answer['ask'].strip()):
      raise rejection.SampleRejected(
          types.Worker.USER_INTENT, 'a demand without words', repr(goal))
    named = f'{named} {goal}'
    about: list[str] = []
    for call in answer['calls']:
      before = world.state.changes()
      result, = world.execute([types.ToolCall(
          call['name'], call['arguments'], requestor=call['by'])])
      if result.error:
        raise rejection.SampleRejected(
            types.Worker.TASK_VALIDATION, 'gold fails',
            f'{call["name"]}: {result.content}')
      writes = world.state.changes() != before
      if writes and call['by'] == 'assistant':
        _grounded(call, f'{named} {learnt}')
        about += [v for v in _strings(call['arguments'], keys=False)
                  if v in goal]
      changed |= writes
      beats += _beats(call, writes)
      learnt = f'{learnt} {result.content}'
    _judged_by(answer, changed, learnt, last=i == len(answers) - 1)
    facts = ', '.join(answer['tell'])
    beats.append(domain.says(
        'assistant', f'That is settled. {facts}', f'So it stands. {facts}'))
    yield domain.Demand(
        answer['family'], goal, (domain.says(
            'user', answer['ask'], f'Hello. {answer["ask"]}'), *beats),
        about=tuple(dict.fromkeys(about)), tell=tuple(answer['tell']),
        kind=answer['kind'],
        forbidden=tuple(_forbidden(world, answer['forbidden'])))


def _forbidden(world: domain.DomainWorld, calls: Sequence[Mapping[str, Any]]
               ) -> Iterator[types.Beat]:
  """The calls, less those that only look: a good agent may look."""
  mark, before = world.state.mark(), world.state.changes()
  for call in calls:
    result, = world.execute([types.ToolCall(call['name'], call['arguments'])])
    after = world.state.changes()
    if result.error or after != before:
      yield domain.calls('assistant', call['name'], **call['arguments'])
    before = after
  world.state.rewind(mark)


def _grounded(call: Mapping[str, Any], shown: str) -> None:
  """Rejects a change by a text that nobody has named; numbers may have been
  worked out."""
  if made_up := [word for word in _strings(call['arguments'], keys=False)
                 if word.lower() not in shown.lower()]:
    raise rejection.SampleRejected(types.Worker.TASK_VALIDATION, 'ungrounded',
                           f'{call["name"]}: {made_up[0]!r} is from nowhere')


def _judged_by(answer: Mapping[str, Any], changed: bool, learnt: str, *,
               last: bool) -> None:
  """Rejects a demand whose kind, changes and facts do not go together."""
  kind, tell = answer['kind'], answer['tell']
  handed = any(c['name'].startswith(env_lib.TRANSFER_TOOL)
               for c in answer['calls'])
  if handed != (kind == 'transfer') or handed and not last:
    raise rejection.SampleRejected(
        types.Worker.USER_INTENT, 'a transfer out of place', answer['goal'])
  if kind in ('do', 'fallback') and not (changed or tell):
    raise rejection.SampleRejected(
        types.Worker.USER_INTENT, 'nothing to judge by', answer['goal'])
  if kind == 'refuse' and changed:
    raise rejection.SampleRejected(
        types.Worker.USER_INTENT, 'a refusal that changes something',
        answer['goal'])
  for fact in tell:
    if fact.lower() not in learnt.lower():
      raise rejection.SampleRejected(
          types.Worker.TASK_VALIDATION, 'ungrounded',
          f'the fact {fact!r} is neither in a result nor in the policy')
    if ',' in fact or not 0 < len(fact) <= MOST_FACT:
      raise rejection.SampleRejected(
          types.Worker.USER_INTENT, 'a fact that cannot be looked for',
          f'{fact!r}: give 1 to {MOST_FACT} characters without a comma, for '
          'the benchmark takes commas out of what is said')


def _beats(call: Mapping[str, Any], writes: bool) -> Iterator[types.Beat]:
  """A call with the words around it."""
  arguments = json.dumps(call['arguments'], ensure_ascii=False)
  words = f'{call["name"]} {arguments}'
  if call['by'] == 'user':
    yield domain.says('assistant', f'Please do this: {words}.',
                      f'Could you do this for me: {words}?')
  elif writes:
    yield domain.says('assistant', f'I would do this: {words}. Shall I?',
                      f'Do you agree to this: {words}?')
    yield domain.says('user', 'Yes, please.', 'Yes, go ahead.')
  yield types.Beat(call['by'], call=call['name'], arguments=call['arguments'])
  if call['by'] == 'user':
    yield domain.says('user', 'I have done that.', 'It is done.')


def review(author: prompts.Author, env: domain.Domain, task: types.Task,
           seed: int) -> None:
  """TaskValidation: has somebody look at what the calls came to.

  Raises:
    SampleRejected: by the reviewer.
  """
  _, played = replay.replay(env, task, task.gold.moves)
  opinion = author.write('review', {
      'policy': env.policy, 'scenario': task.scenario, 'kind': task.kind,
      'transcript': judge.transcript(played)}, seed)
  if not opinion['ok']:
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, 'reviewer objects', opinion['problem'])
