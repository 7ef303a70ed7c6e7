"""Demands that an LLM invents, for domains that bring no drafts.

RandomPool draws a caller with the records around them. UserIntent (role `goal`)
invents their demands, and the calls by which a good agent meets them. These are
executed, everything that they use and tell must have come from somewhere, and a
reviewer (role `review`) looks at the results. From there on a demand is a
`domain.Demand` like any other.
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
from agentrl.eigendata import source
from agentrl.eigendata.check import trajectory
from agentrl.eigendata.plan import planner
from agentrl.eigendata.write import script
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import replay

HOPS = 2  # from the caller to a record that is shown
MOST_RECORDS = 6  # of a table
MOST_ITEMS = 12  # of an object or a list within a record
OTHERS = 6  # other callers that a sample shows
MOST_FACT = 60  # characters that the agent must say


class InventedTasks:
  """`source.TaskSource` of a domain for which an LLM invents the demands."""

  role = 'goal'
  way_known = False
  separable = False  # the start is prepared for all demands together
  attempts = 2

  def __init__(self, env: source.WritableEnv):
    self.env = env

  def families(self) -> list[str]:
    return self.env.demand_tools()

  def draw(self, plan: planner.Plan, seed: int, *, database: int,
           other_share: float) -> source.Draw:
    rng = random.Random(seed)
    names, = rng.choices(plan.combinations, plan.emphasis or None)
    start = self.env.initial_state(database, plan.split)
    tables = self.env.tables(**start)
    callers = self.env.callers(tables)
    if not callers:
      raise rejection.SampleRejected(
          types.Worker.RANDOM_POOL, 'no caller fits', plan.id)
    caller = rng.choice(callers)
    # Of those who may call alone: customers of evaluation tasks stay unnamed.
    others = sorted({*callers} - {caller})
    topic = source.Topic(tuple(names), rng.random() < other_share,
                         around(tables, caller, rng))
    return source.Draw(
        plan, start, knowledge='', opening=(), drafts=(), topic=topic,
        others=tuple(rng.sample(others, min(OTHERS, len(others)))))

  def intent(self, writer: prompts.Writer, draw: source.Draw,
             attempt: source.Attempt) -> tuple[source.Draw, source.Intent]:
    answer = writer.write('goal', _payload(self.env, draw, attempt.critique),
                          attempt.seed('goal', attempt.number))
    draw = dataclasses.replace(
        draw, start=_start(self.env, draw, answer),
        knowledge=' '.join(answer['knowledge'].split()))
    if not draw.knowledge:
      raise rejection.SampleRejected(types.Worker.USER_INTENT, 'nobody calls')
    demands = tuple(_executed(self.env, draw, answer['demands']))
    if sorted(d.family for d in demands) != sorted(draw.topic.families):
      raise rejection.SampleRejected(
          types.Worker.USER_INTENT, 'other families',
          f'{[d.family for d in demands]}')
    if (script.task_kind(demands) != 'do') != draw.topic.other:
      raise rejection.SampleRejected(
          types.Worker.USER_INTENT, 'another kind',
          f'{[d.kind for d in demands]}')
    scenario, brief = self.env.scenario(
        draw.knowledge, planner.STYLES[draw.plan.style],
        [d.goal for d in demands])
    opening = (
        domain.says('assistant', 'Who am I talking to?',
                    'May I ask you to identify yourself?'),
        domain.says('user', draw.knowledge, f'Of course. {draw.knowledge}'))
    return draw, source.Intent(
        scenario, demands, script.joined(opening, demands), brief)

  def review(self, writer: prompts.Writer, task: types.Task, seed: int) -> None:
    """Has the reviewer look at the results of the gold calls."""
    _, played = replay.replay(self.env, task, task.gold.moves)
    opinion = writer.write('review', {
        'policy': self.env.policy, 'scenario': task.scenario,
        'kind': task.kind, 'transcript': trajectory.transcript(played)}, seed)
    if not opinion['ok']:
      raise rejection.SampleRejected(
          types.Worker.TASK_VALIDATION, 'reviewer objects', opinion['problem'])


def around(tables: Mapping[str, Mapping[str, Any]], caller: str,
           rng: random.Random) -> dict[str, dict[str, Any]]:
  """Returns the caller's record, and those that name it or are named by it, and
  so on: table -> key -> record, long ones cut."""
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
  return {table: shown for table, rows in tables.items() if (shown := {
      key: _cut(rows[key], rng) for key in sorted(seen & rows.keys())})}


def _strings(value: Any, *, keys: bool = True) -> Iterator[str]:
  """Yields all strings in a record; with `keys` those of objects in it too."""
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
  """Returns a record with only some of the items of long objects and lists."""
  if isinstance(value, Mapping):
    keys = list(value)
    if len(keys) > MOST_ITEMS and all(
        isinstance(v, (Mapping, list)) for v in value.values()):
      keys = sorted(rng.sample(keys, MOST_ITEMS))
    return {key: _cut(value[key], rng) for key in keys}
  if isinstance(value, list):
    return [_cut(item, rng) for item in value[:MOST_ITEMS]]
  return value


def _payload(env: source.WritableEnv, draw: source.Draw, critique: str
             ) -> dict[str, Any]:
  """Returns the job of the role `goal`."""
  blank, topic = types.Task('', env.name, ''), draw.topic
  return {
      'policy': env.policy, 'tools': {
          side: [s['function'] for s in env.tools(side, blank)]
          for side in ('assistant', 'user')},
      'records': topic.records, 'families': topic.families,
      'other': topic.other, 'style': planner.STYLES[draw.plan.style],
      'setups': env.setups(), 'critique': critique}


def _start(env: source.WritableEnv, draw: source.Draw,
           answer: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the initial state that an answer asks for."""
  setups = env.setups()
  if wrong := [i for i in answer['setup'] if not 0 <= i < len(setups)]:
    raise rejection.SampleRejected(
        types.Worker.USER_INTENT, 'no such setup', f'{wrong}')
  start = env.prepared(
      draw.start, [setups[i] for i in dict.fromkeys(answer['setup'])],
      answer['records'])
  try:
    env.tables(**start)
  except Exception as e:  # a tool or a data model may raise anything
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, 'setup fails',
        f'{type(e).__name__}: {e!s:.300}') from e
  return start


class _Trial:
  """A world in which the calls of demands are tried, one after another.

  Attributes:
    named: texts that a value may come from: the tools' schemas, the user.
    learnt: texts that a fact may come from too: policy and results.
  """

  def __init__(self, env: source.WritableEnv, draw: source.Draw):
    blank = types.Task('', env.name, '', initial_state=draw.start or None)
    tools = env.tools('assistant', types.Task('', env.name, ''))
    self.world = env.start(blank)
    self.named = f'{draw.knowledge} {json.dumps(tools, ensure_ascii=False)}'
    self.learnt = env.policy

  def execute(self, call: Mapping[str, Any]) -> bool:
    """Executes a call, and returns whether it changes something.

    Raises:
      SampleRejected: it is refused, or uses a value that stands nowhere.
    """
    before = self.world.state.changes()
    result, = self.world.execute([types.ToolCall(
        call['name'], call['arguments'], requestor=call['by'])])
    if result.error:
      raise rejection.SampleRejected(
          types.Worker.TASK_VALIDATION, 'gold fails',
          f'{call["name"]}: {result.content}')
    writes = self.world.state.changes() != before
    if writes and call['by'] == 'assistant':
      _check_grounded(call, f'{self.named} {self.learnt}')
    self.learnt = f'{self.learnt} {result.content}'
    return writes


def _executed(env: source.WritableEnv, draw: source.Draw,
              answers: Sequence[Mapping[str, Any]]) -> Iterator[domain.Demand]:
  """Yields each demand with its exchange, executed one after another.

  Raises:
    SampleRejected: a call is refused, a value or a fact stands nowhere, or
      there is nothing to judge by.
  """
  trial = _Trial(env, draw)
  for i, answer in enumerate(answers):
    goal, beats, changed = ' '.join(answer['goal'].split()), [], False
    if not (goal and answer['ask'].strip()):
      raise rejection.SampleRejected(
          types.Worker.USER_INTENT, 'a demand without words', repr(goal))
    trial.named = f'{trial.named} {goal}'
    about: list[str] = []
    for call in answer['calls']:
      writes = trial.execute(call)
      if writes and call['by'] == 'assistant':
        about += [v for v in _strings(call['arguments'], keys=False)
                  if v in goal]
      changed |= writes
      beats += _beats(call, writes)
    _check_kind(answer, changed, last=i == len(answers) - 1)
    _check_facts(answer['tell'], trial.learnt)
    facts = ', '.join(answer['tell'])
    beats.append(domain.says(
        'assistant', f'That is settled. {facts}', f'So it stands. {facts}'))
    yield domain.Demand(
        answer['family'], goal, (domain.says(
            'user', answer['ask'], f'Hello. {answer["ask"]}'), *beats),
        about=tuple(dict.fromkeys(about)), tell=tuple(answer['tell']),
        kind=answer['kind'],
        forbidden=tuple(_forbidden(trial.world, answer['forbidden'])))


def _forbidden(world: source.WritableWorld, calls: Sequence[Mapping[str, Any]]
               ) -> Iterator[types.Beat]:
  """Yields the calls, less those that only look: a good agent may look."""
  mark, before = world.state.mark(), world.state.changes()
  for call in calls:
    result, = world.execute([types.ToolCall(call['name'], call['arguments'])])
    after = world.state.changes()
    if result.error or after != before:
      yield domain.calls('assistant', call['name'], **call['arguments'])
    before = after
  world.state.rewind(mark)


def _check_grounded(call: Mapping[str, Any], shown: str) -> None:
  """Rejects a change by a text that stands nowhere; numbers may have been
  worked out."""
  if made_up := [word for word in _strings(call['arguments'], keys=False)
                 if word.lower() not in shown.lower()]:
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, 'ungrounded',
        f'{call["name"]}: {made_up[0]!r} is from nowhere')


def _check_kind(answer: Mapping[str, Any], changed: bool, *, last: bool
                ) -> None:
  """Rejects a demand with a kind that its calls and facts do not bear out."""
  kind = answer['kind']
  handed = any(c['name'].startswith(env_lib.TRANSFER_TOOL)
               for c in answer['calls'])
  problem = ''
  if handed != (kind == 'transfer') or handed and not last:
    problem = 'a transfer out of place'
  elif kind in ('do', 'fallback') and not (changed or answer['tell']):
    problem = 'nothing to judge by'
  elif kind == 'refuse' and changed:
    problem = 'a refusal that changes something'
  if problem:
    raise rejection.SampleRejected(
        types.Worker.USER_INTENT, problem, answer['goal'])


def _check_facts(facts: Sequence[str], learnt: str) -> None:
  """Rejects facts that the agent cannot know, or that cannot be looked for."""
  for fact in facts:
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
  """Yields a call with the words around it."""
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
