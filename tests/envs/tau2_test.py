"""The adapter against the package itself: tasks, tools, rules, verdicts."""

import importlib.util
import json
import random
import sys
import types as pytypes

import pytest

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import tau2
from agentrl.envs import tau2_bench

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')
STOP = types.Message('user', '###STOP###')


@pytest.fixture(scope='module')
def env():
  return env_lib.load('tau2:telecom', {'prompt': 'brief'})


@pytest.fixture(scope='module')
def package():
  """The package's own orchestrator, evaluator and messages.

  They import an LLM client, which the environments do not need; where it is
  missing, an empty module stands in for it. No LLM is called.
  """
  class Stub(pytypes.ModuleType):
    __path__ = ()
    __getattr__ = lambda self, name: lambda *args, **kw: None

  with pytest.MonkeyPatch.context() as patch:
    if not importlib.util.find_spec('litellm'):
      for name in ('litellm', 'litellm.caching', 'litellm.caching.caching',
                   'litellm.main'):
        patch.setitem(sys.modules, name, Stub(name))
    parts = {name.rpartition('.')[2]: importlib.import_module(f'tau2.{name}')
             for name in ('agent.llm_agent', 'data_model.message',
                          'domains.telecom.environment', 'user.base',
                          'evaluator.evaluator', 'orchestrator.orchestrator')}
    tasks = {t.id: t for t in parts['environment'].get_tasks('base')}
    yield pytypes.SimpleNamespace(tasks=tasks, **parts)


def gold(env, task):
  """(world, messages) of a dialogue that is nothing but the gold calls."""
  world, messages = env.start(task), [dialogue.GREETING]
  for i, a in enumerate(task.criteria.actions):
    call = types.ToolCall(a.name, a.arguments, f'c{i}', a.requestor)
    messages.append(types.Message(a.requestor, None, (call,)))
    messages += world.execute([call])
  return world, [*messages, STOP]


# Tasks.


def test_splits_are_the_benchmarks_and_carry_everything(env):
  sizes = {s: len(env.tasks(s)) for s in ('base', 'train', 'test', 'small')}
  assert sizes == {'base': 114, 'train': 74, 'test': 40, 'small': 20}
  task = env.tasks('train')[0]
  assert task.domain == env.name == 'tau2:telecom'
  assert task.scenario.startswith('Instructions:')
  assert task.criteria.reward_basis == ('ENV_ASSERTION',)
  assert task.meta['split'] == 'train'
  assert task.families == ('airplane_mode_on',
                           'user_abroad_roaming_enabled_off')
  assert task == types.task_from_json(json.loads(types.dumps(task)))


def test_unknown_names_are_refused_with_the_near_ones(env):
  with pytest.raises(ValueError, match="no split 'trian'.*'train'"):
    env.tasks('trian')
  with pytest.raises(ValueError, match="no domain 'telcom'.*'telecom'"):
    tau2.Tau2('telcom')
  with pytest.raises(ValueError, match='prompt'):
    tau2.Tau2('telecom', prompt='short')


def test_missing_or_wrong_package_is_named(monkeypatch):
  def fail(name):
    def load(wanted):
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)
    return load
  monkeypatch.setattr(tau2_bench.importlib, 'import_module', fail('tau2'))
  with pytest.raises(ValueError, match=r'install -e \.\[tau2\].*unrelated'):
    tau2_bench.part.__wrapped__('utils')
  monkeypatch.setattr(tau2_bench.importlib, 'import_module',
                      fail('tau2.domains'))
  with pytest.raises(ValueError, match='not tau2-bench.*pip uninstall tau2'):
    tau2_bench.part.__wrapped__('domains.telecom.environment')


# Verdicts.


@pytest.mark.parametrize('split', ['train', 'test'])
def test_gold_earns_one_and_nothing_or_transfer_only_where_declared(env, split):
  for task in env.tasks(split):
    task = types.task_from_json(json.loads(types.dumps(task)))
    world, messages = gold(env, task)
    score = env.score(task, world, messages, 'user_stop')
    assert score.reward == 1 and not score.error, task.id
    assert set(score.parts) == set(task.criteria.reward_basis)
    assert score.clauses and all(score.clauses.values())
    idle = [dialogue.GREETING, STOP]
    assert env.score(task, env.start(task), idle, 'user_stop').reward == 0
    world = env.start(task)
    transfer = types.ToolCall('transfer_to_human_agents', {'summary': ''}, 'c')
    messages = [dialogue.GREETING, types.Message('user', 'Hi'),
                types.Message('assistant', None, (transfer,)),
                *world.execute([transfer]), STOP]
    score = env.score(task, world, messages, 'user_stop')
    assert score.reward == (task.kind == 'transfer'), task.id


def test_any_other_end_scores_nothing(env):
  task = env.tasks('train')[0]
  world, messages = gold(env, task)
  assert env.score(task, world, messages, 'max_steps') == types.Score(0.0)


def test_dialogues_do_not_leak_into_each_other(env):
  """`break_vpn` of one task must not slow down the VPN of the next."""
  by_vpn = {'bad_vpn' in t.families: t for t in env.tasks('train')}
  env.start(by_vpn[True])
  calls = [types.ToolCall(name, {}, name, 'user')
           for name in ('connect_vpn', 'check_vpn_status')]
  assert 'EXCELLENT' in env.start(by_vpn[False]).execute(calls)[1].content


# Prompts and hash.


def test_prompts_are_the_benchmarks_or_brief(env, package):
  task = env.tasks('train')[0]
  full = tau2.Tau2('telecom', 'full')
  policy = package.environment.get_environment().get_policy()
  agent = package.llm_agent.LLMAgent([], policy)
  head, tools = full.system('assistant', task).split('\n\n# Tools\n')
  assert head == agent.system_prompt
  names = [json.loads(line)['function']['name'] for line in tools.split('\n')]
  assert len(names) == 13 and 'refuel_data' in names
  assert len(full.tools('user', task)) == 30
  assert task.scenario in full.system('user', task)
  brief = env.system('user', task)
  assert '555-123-2002' in brief and 'refuel 2.0 GB' in brief
  assert len(brief.split()) < 70
  assert env.fingerprint() != full.fingerprint()
  assert env.fingerprint() == tau2.Tau2('telecom', 'brief').fingerprint()


# The same dialogue, played by both.


def script(env, task, seed, stop_at):
  """fn(n) -> the n-th message that is generated, in its own view."""
  rng = random.Random(seed)
  fixes = [(a.name, dict(a.arguments)) for a in task.criteria.actions]
  names = [t['function']['name'] for side in ('assistant', 'user')
           for t in env.tools(side, task)]
  wild = [('nope', {}), ('get_details_by_id', {'id': 'L1002'}),
          ('get_details_by_id', {'id': 3}), ('check_app_status', {'x': 'y'}),
          ('get_customer_by_phone', {'phone_number': '555-123-2002'}),
          ('refuel_data', {'customer_id': 'C1001', 'line_id': 'L1002',
                           'gb_amount': 2})]
  def one(n):
    if n >= stop_at:
      return types.Message('assistant', rng.choice(dialogue.STOP_TOKENS))
    calls, kind = (), rng.random()
    if kind < 0.7:
      picks = [rng.choice([*fixes, *wild, (rng.choice(names), {})])
               for _ in range(rng.choice([1, 1, 1, 2, 3]))]
      calls = tuple(types.ToolCall(name, arguments, f'{n}-{i}')
                    for i, (name, arguments) in enumerate(picks))
    text = rng.choice(['Hello there', 'transferring', ' ###STOP### in passing'])
    return types.Message(
        'assistant', text if not calls or kind < 0.1 else None, calls)
  sent = {}
  return lambda n: sent[n] if n in sent else sent.setdefault(n, one(n))


def ours(env, task, reply, limits):
  """(messages, reason, reward, what each side got to see and when)."""
  game = dialogue.play(world := env.start(task), limits=limits, system={
      'assistant': '', 'user': ''})
  seen, ask, n = [], next(game), 0
  while True:
    seen.append((ask.side, [m.content for _, m in ask.new if m.role != 'system'
                            ][-1:]))
    try:
      ask, n = game.send(reply(n)), n + 1
    except StopIteration as e:
      end = e.value
      score = env.score(task, world, end.messages, end.reason)
      return end.messages, end.reason, score, seen


def theirs(package, task, reply, limits):
  """The same by the package's orchestrator and evaluator."""
  pkg, seen, count = package.message, [], iter(range(10**6))
  def generate(side, cls, message):
    last = getattr(message, 'tool_messages', [message])[-1]
    seen.append((side, [last.content]))
    m = reply(next(count))
    calls = [pkg.ToolCall(id=c.id, name=c.name, arguments=dict(c.arguments),
                          requestor=side) for c in m.tool_calls]
    return cls(role=side, content=m.content, tool_calls=calls or None)

  class Agent(package.llm_agent.LocalAgent):
    def get_init_state(self, message_history=None):
      return None
    def generate_next_message(self, message, state):
      return generate('assistant', pkg.AssistantMessage, message), state

  class User(package.base.BaseUser):
    def get_init_state(self, message_history=None):
      return None
    def generate_next_message(self, message, state):
      return generate('user', pkg.UserMessage, message), state
    def is_stop(self, message):
      raise AssertionError('the orchestrator asks UserSimulator')

  vpn = package.environment.TelecomUserTools.default_vpn_details
  vpn.server_performance = type(vpn.server_performance)('excellent')
  environment = package.environment.get_environment()
  raw = package.tasks[task.id]
  run = package.orchestrator.Orchestrator(
      'telecom', Agent([], ''), User(), environment, raw,
      max_steps=limits.max_steps, max_errors=limits.max_errors).run()
  vpn.server_performance = type(vpn.server_performance)('excellent')
  info = package.evaluator.evaluate_simulation(
      run, raw, package.evaluator.EvaluationType.ALL, False, 'telecom')
  return run, info, seen


def flat(m):
  """Of either kind of message, all that must agree."""
  calls = [(c.id, c.name, dict(c.arguments), c.requestor)
           for c in m.tool_calls or ()] if m.role != 'tool' else []
  tool = (m.id, m.requestor, m.error) if m.role == 'tool' else ()
  return m.role, m.content, calls, tool


@pytest.mark.parametrize('seed', range(12))
def test_plays_like_the_packages_orchestrator(env, package, seed):
  """Errors, many calls at once, text beside calls, stops in calls, limits."""
  rng = random.Random(seed)
  task = rng.choice(env.tasks('base'))
  limits = dialogue.Limits(max_steps=rng.choice([5, 20, 60, 200]),
                           max_errors=rng.choice([2, 10]))
  reply = script(env, task, seed, rng.choice([0, 1, 5, 20, 40]))
  agree(env, package, task, reply, limits)


def agree(env, package, task, reply, limits):
  """Plays by both, compares everything; (reason, reward)."""
  messages, reason, score, seen = ours(env, task, reply, limits)
  run, info, their_seen = theirs(package, task, reply, limits)
  assert [flat(m) for m in messages] == [flat(m) for m in run.messages]
  assert reason == run.termination_reason
  assert seen == their_seen
  assert (score.reward, score.error) == (info.reward, '')
  parts = {k.value: v for k, v in (info.reward_breakdown or {}).items()}
  assert score.parts == parts
  return reason, score.reward


def gold_moves(task):
  """The gold calls in turns, each side passing on to the other in words."""
  moves, side = [types.Message('assistant', 'Hello.')], 'assistant'
  for i, a in enumerate(task.criteria.actions):
    if a.requestor != side:
      moves, side = [*moves, types.Message('assistant', 'Go on.')], a.requestor
    call = types.ToolCall(a.name, a.arguments, f'{i}', side)
    moves.append(types.Message('assistant', None, (call,)))
  if side == 'assistant':
    moves.append(types.Message('assistant', 'Bye.'))
  return [*moves, types.Message('assistant', '###STOP###')]


@pytest.mark.parametrize('kind', ['do', 'transfer'])
def test_both_score_gold_dialogues_one(env, package, kind):
  for task in [t for t in env.tasks('test') if t.kind == kind][:4]:
    limits = dialogue.Limits(max_steps=200)
    assert agree(env, package, task, gold_moves(task).__getitem__,
                 limits) == ('user_stop', 1)


def test_a_limit_in_the_very_step_of_a_stop_wins_in_both(env, package):
  task = env.tasks('train')[0]
  moves = gold_moves(task)
  steps = len(moves) + sum(m.is_call for m in moves)  # and their execution
  for most, result in [(steps, ('max_steps', 0)),
                       (steps + 1, ('user_stop', 1))]:
    limits = dialogue.Limits(max_steps=most)
    assert agree(env, package, task, moves.__getitem__, limits) == result


def test_errors_of_both_sides_count(env, package):
  bad = lambda i: types.Message('assistant', None, (
      types.ToolCall('nope', {}, f'{i}'),))
  text = types.Message('assistant', 'Go on.')
  stop = types.Message('assistant', '###STOP###')
  task = env.tasks('train')[0]
  for most, reason in [(2, 'too_many_errors'), (3, 'user_stop')]:
    reply = [bad(0), text, bad(1), text, stop].__getitem__
    limits = dialogue.Limits(max_errors=most)
    assert agree(env, package, task, reply, limits) == (reason, 0)
