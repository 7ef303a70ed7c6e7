"""The same dialogue, played and judged by the package and by us.

Every message, who saw it, how it ended, the reward and its parts must agree.
A sample of each kind by default; whole with `-m slow`.
"""

import gc
import json
import random

import pytest

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')

DOMAINS = ('airline', 'retail', 'telecom')
pytestmark = pytest.mark.filterwarnings('ignore')  # of ill-typed rows
# Values that no argument should have; 3, 3.0 and '3' are stored as given.
ODD = (3, 3.0, '3', -1, None, True, '', [], {}, 'nope', ['a', 1], {'a': None},
       '#W0000000', 'C1001', '2 + 2', '(1', '2 ** 0.5', '1 / 0', 'x')
TEXTS = ('Hello there', 'transferring, 1,000', ' ', ' ###STOP### in passing')


@pytest.fixture(scope='module')
def envs():
  return {d: env_load.load(f'tau2:{d}', {'prompt': 'brief'}) for d in DOMAINS}


@pytest.fixture(scope='module', autouse=True)
def uncollected():
  """The package's databases are millions of objects, none of them garbage:
  to look for some takes longer than the tests."""
  gc.collect()
  gc.freeze()
  gc.disable()
  yield
  gc.enable()
  gc.unfreeze()


# Gold.


def golds(envs, domain):
  """All base tasks, and 500 of telecom's others."""
  tasks = envs[domain].tasks('base')
  if domain == 'telecom':
    known = {t.id for t in tasks}
    rest = [t for t in envs[domain].tasks('full') if t.id not in known]
    tasks = tasks + random.Random(0).sample(rest, 500)
  return tasks


def check_gold(envs, oracle, gold_moves, domain, tasks):
  for task in tasks:
    assert oracle(domain).agree(
        envs[domain], task, gold_moves(task).__getitem__, dialogue.Limits(),
        hashes=True) == ('user_stop', 1), task.id


@pytest.mark.parametrize('domain', DOMAINS)
def test_gold_replays_agree_and_earn_one(envs, oracle, gold_moves, domain):
  tasks = random.Random(1).sample(golds(envs, domain), 12)
  check_gold(envs, oracle, gold_moves, domain, tasks)


@pytest.mark.slow
@pytest.mark.parametrize('domain', DOMAINS)
def test_all_gold_replays_agree(envs, oracle, gold_moves, domain):
  check_gold(envs, oracle, gold_moves, domain, golds(envs, domain))


# Fuzz.


class Script:
  """The n-th message that is generated, in the view of its author."""

  def __init__(self, rng, task, pool, names):
    self._rng, self._pool, self._names = rng, pool, names
    self._gold = [(a.name, dict(a.arguments)) for a in task.criteria.actions]
    self._facts = list(task.criteria.communicate_info)
    self._stop = rng.choice((0, 1, 3, 6, 12, 25, 40))
    self._sent = []

  def __call__(self, n):
    while len(self._sent) <= n:
      self._sent.append(self._one(len(self._sent)))
    return self._sent[n]

  def _one(self, n):
    rng = self._rng
    if n >= self._stop:
      return types.Message('assistant', rng.choice(dialogue.STOP_TOKENS))
    kind, calls = rng.random(), ()
    if kind < 0.7:
      calls = tuple(types.ToolCall(*self._call(), f'{n}-{i}')
                    for i in range(rng.choice((1, 1, 1, 2, 3))))
    text = rng.choice((*TEXTS, *self._facts))
    if not calls:
      return types.Message('assistant', text.strip() or 'Go on.')
    return types.Message('assistant', text if kind < 0.1 else None, calls)

  def _call(self):
    """Mostly right calls, and calls that are wrong in one way or another."""
    rng = self._rng
    name, arguments = rng.choice(
        (*self._gold * 3, *rng.sample(self._pool, 12)))
    arguments, kind = dict(arguments), rng.random()
    if kind < 0.05:
      name = rng.choice(('nope', '', 'db', '_get_user', 'use_tool'))
    elif kind < 0.15:
      name = rng.choice(self._names)
    elif kind < 0.2:
      arguments[rng.choice(('x', 'self', 'order_id'))] = rng.choice(ODD)
    elif kind < 0.35 and arguments:
      key = rng.choice(sorted(arguments))
      _, other = rng.choice(self._pool)
      arguments[key] = rng.choice((rng.choice(ODD), other.get(key, 'none')))
    elif kind < 0.4 and arguments:
      del arguments[rng.choice(sorted(arguments))]
    return name, arguments


def check_fuzz(envs, oracle, domain, seeds):
  env = envs[domain]
  tasks = env.tasks('base')
  pool = [(a.name, dict(a.arguments)) for t in tasks
          for a in t.criteria.actions]
  pool += [('calculate', {'expression': e}) for e in ('2 + 2', '1,000')]
  names = [t['function']['name'] for side in ('assistant', 'user')
           for t in env.tools(side, tasks[0])]
  ends = set()
  for seed in seeds:
    rng = random.Random(f'{domain} {seed}')
    task = rng.choice(tasks)
    limits = dialogue.Limits(max_steps=rng.choice((3, 5, 20, 60, 200)),
                             max_errors=rng.choice((1, 2, 10, 10)))
    reason, reward = oracle(domain).agree(
        env, task, Script(rng, task, pool, names), limits,
        hashes=seed % 10 == 0)
    ends.add((reason, reward))
  return ends


@pytest.mark.parametrize('domain', DOMAINS)
def test_fuzz_agrees(envs, oracle, domain):
  ends = check_fuzz(envs, oracle, domain, range(40))
  assert {reason for reason, _ in ends} == {
      'user_stop', 'max_steps', 'too_many_errors'}


@pytest.mark.slow
@pytest.mark.parametrize('domain', DOMAINS)
def test_two_thousand_fuzz_episodes_agree(envs, oracle, domain):
  ends = check_fuzz(envs, oracle, domain, range(1000, 3000))
  assert ('user_stop', 0) in ends


# Rules where the two could part.


@pytest.mark.parametrize('domain', DOMAINS)
def test_a_limit_in_the_very_step_of_a_stop_wins(
    envs, oracle, gold_moves, domain):
  task = envs[domain].tasks('train')[0]
  moves = gold_moves(task)
  steps = len(moves) + sum(m.is_call for m in moves)  # and their execution
  for most, result in [(steps, ('max_steps', 0)),
                       (steps + 1, ('user_stop', 1))]:
    limits = dialogue.Limits(max_steps=most)
    assert oracle(domain).agree(envs[domain], task, moves.__getitem__,
                                limits) == result


def test_errors_of_both_sides_count(envs, oracle):
  bad = lambda i: types.Message('assistant', None, (
      types.ToolCall('nope', {}, f'{i}'),))
  text = types.Message('assistant', 'Go on.')
  stop = types.Message('assistant', '###STOP###')
  task = envs['telecom'].tasks('train')[0]
  for most, reason in [(2, 'too_many_errors'), (3, 'user_stop')]:
    reply = [bad(0), text, bad(1), text, stop].__getitem__
    limits = dialogue.Limits(max_errors=most)
    assert oracle('telecom').agree(envs['telecom'], task, reply,
                                   limits) == (reason, 0)


@pytest.mark.parametrize('domain', DOMAINS)
def test_schemas_and_policy_are_the_packages(envs, oracle, domain):
  env, task = envs[domain], envs[domain].tasks('train')[0]
  theirs = oracle(domain).environment()
  assert env.tools('assistant', task) == tuple(
      t.openai_schema for t in theirs.get_tools())
  assert env.tools('user', task) == tuple(
      t.openai_schema for t in (theirs.get_user_tools()
                                if theirs.user_tools else ()))


@pytest.mark.parametrize('domain', DOMAINS)
def test_system_prompts_are_the_packages(package, oracle, domain, monkeypatch):
  """Byte for byte, but for the schemas, which it sends beside the prompt."""
  env, theirs = env_load.load(f'tau2:{domain}'), oracle(domain).environment()
  task = env.tasks('train')[0]
  own = lambda side: env_lib.prompt_text(
      env, side, task).partition('\n\n# Tools\n')
  agent = package.llm_agent.LLMAgent(theirs.get_tools(), theirs.get_policy())
  assert own('assistant')[0] == agent.system_prompt
  assert own('assistant')[2].split('\n') == [
      json.dumps(t.openai_schema) for t in theirs.get_tools()]
  # Its guidelines are in no package; where they are, they stand first.
  monkeypatch.setattr(package.user_simulator, 'get_global_user_sim_guidelines',
                      lambda use_tools: env._bench.guide)
  user = package.user_simulator.UserSimulator(
      instructions=str(oracle(domain).tasks[task.id].user_scenario))
  assert own('user')[0] == user.system_prompt
