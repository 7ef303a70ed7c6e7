"""The adapter against the package itself: tasks, tools, rules, verdicts."""

import json

import pytest

from agentrl import jsons
from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.envs.tau2 import env as tau2_env
from agentrl.envs.tau2 import package as tau2_package

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')
STOP = types.Message('user', '###STOP###')


@pytest.fixture(scope='module')
def env():
  return env_load.load('tau2:telecom', {'prompt': 'brief'})


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
  assert task.split == 'train'
  assert task.families == ('airplane_mode_on',
                           'user_abroad_roaming_enabled_off')
  assert task == jsons.from_json(types.Task, json.loads(jsons.dumps(task)))


def test_unknown_names_are_refused_with_the_near_ones(env):
  with pytest.raises(ValueError, match="no split 'trian'.*'train'"):
    env.tasks('trian')
  with pytest.raises(ValueError, match="no domain 'telcom'.*'telecom'"):
    tau2_env.Tau2('telcom')
  with pytest.raises(ValueError, match='prompt'):
    tau2_env.Tau2('telecom', prompt='short')


def test_missing_or_wrong_package_is_named(monkeypatch):
  def fail(name):
    def load(wanted):
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)
    return load
  monkeypatch.setattr(tau2_package.importlib, 'import_module', fail('tau2'))
  with pytest.raises(ValueError, match=r'install -e \.\[tau2\].*unrelated'):
    tau2_package.part.__wrapped__('utils')
  monkeypatch.setattr(tau2_package.importlib, 'import_module',
                      fail('tau2.domains'))
  with pytest.raises(ValueError, match='not tau2-bench.*pip uninstall tau2'):
    tau2_package.part.__wrapped__('domains.telecom.environment')


# Verdicts.


@pytest.mark.parametrize('split', ['train', 'test'])
def test_gold_earns_one_and_nothing_or_transfer_only_where_declared(env, split):
  for task in env.tasks(split):
    task = jsons.from_json(types.Task, json.loads(jsons.dumps(task)))
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
  assert env.score(task, world, messages, 'max_steps') == types.Score(
      0.0, db=0.0)


def test_dialogues_do_not_leak_into_each_other(env):
  """`break_vpn` of one task must not slow down the VPN of the next."""
  by_vpn = {'bad_vpn' in t.families: t for t in env.tasks('train')}
  env.start(by_vpn[True])
  calls = [types.ToolCall(name, {}, name, 'user')
           for name in ('connect_vpn', 'check_vpn_status')]
  assert 'EXCELLENT' in env.start(by_vpn[False]).execute(calls)[1].content


# Prompts and hash.


def test_prompts_are_the_benchmarks_or_brief(env, package, oracle):
  task = env.tasks('train')[0]
  full = tau2_env.Tau2('telecom', 'full')
  policy = oracle('telecom').environment().get_policy()
  agent = package.llm_agent.LLMAgent([], policy)
  head, tools = env_lib.prompt_text(full, 'assistant', task).split(
      '\n\n# Tools\n')
  assert head == agent.system_prompt
  names = [json.loads(line)['function']['name'] for line in tools.split('\n')]
  assert len(names) == 13 and 'refuel_data' in names
  assert len(full.tools('user', task)) == 30
  assert task.scenario in env_lib.prompt_text(full, 'user', task)
  brief = env_lib.prompt_text(env, 'user', task)
  assert '555-123-2002' in brief and 'refuel 2.0 GB' in brief
  assert len(brief.split()) < 70
  assert env.fingerprint() != full.fingerprint()
  assert env.fingerprint() == tau2_env.Tau2('telecom', 'brief').fingerprint()
  tools = tau2_env.Tau2('telecom', 'tools')  # full, but for the policy
  assert tools.prompt('user', task) == full.prompt('user', task)
  short = tools.prompt('assistant', task)
  assert short.content == 'You are a telecom support agent.'
  assert short.tools == full.prompt('assistant', task).tools
