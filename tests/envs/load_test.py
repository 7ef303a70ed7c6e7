"""Environments are made from their names, and many are one."""

import pytest

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.envs.tau2 import env as tau2_env


def task(name):
  return types.Task('t', name, 'Cancel it.',
                    initial_state={'seed': 0, 'split': 'train'})


@pytest.mark.parametrize('name', env_load.BUILT_IN)
def test_a_built_in_domain_or_its_import_path(name):
  envs = [env_load.load(name), env_load.load(f'agentrl.envs.domains.{name}')]
  assert [type(env) for env in envs] == [domain.Domain] * 2
  assert [env.name for env in envs] == [name] * 2
  assert envs[0].fingerprint() == envs[1].fingerprint()


def test_the_benchmark():
  pytest.importorskip('tau2.domains.telecom',
                      reason='needs tau2-bench: pip install -e .[tau2]')
  env = env_load.load('tau2:airline', {'prompt': 'brief'})
  assert type(env) is tau2_env.Tau2 and env.name == 'tau2:airline'


@pytest.mark.parametrize('name, options, words', [
    ('no_such_domain', {}, 'No domain at .no_such_domain.'),
    ('orders', {'promt': 'full'}, "takes no 'promt'. Did you mean 'prompt'")])
def test_wrong_names_are_refused(name, options, words):
  with pytest.raises(ValueError, match=words):
    env_load.load(name, options)


def test_each_task_goes_to_the_environment_of_its_domain():
  many = env_load.load_many(['orders', 'router'], {'prompt': 'full'})
  assert many.name == 'orders+router' and many.grading == ''
  for name, env in many.envs.items():
    for side in ('assistant', 'user'):
      assert many.prompt(side, task(name)) == env.prompt(side, task(name))
      assert many.tools(side, task(name)) == env.tools(side, task(name))
      text = env_lib.prompt_text(many, side, task(name))
      assert text == env_lib.prompt_text(env, side, task(name))
  parts = {env.fingerprint() for env in many.envs.values()}
  assert len({many.fingerprint(), *parts}) == 3
  with pytest.raises(ValueError, match="'lamps', but config.domains has"):
    many.start(task('lamps'))
  with pytest.raises(ValueError, match='orders brings no tasks of its own'):
    many.tasks('train')


def test_a_prompt_as_text_has_its_tools_below_it():
  env = env_load.load('orders')
  prompt = env.prompt('assistant', task('orders'))
  text = env_lib.prompt_text(env, 'assistant', task('orders'))
  assert text.startswith(f'{prompt.content}\n\n# Tools\n')
  assert text.count('"name": "cancel_order"') == 1
  assert env_lib.prompt_text(env, 'user', task('orders')) == env.prompt(
      'user', task('orders')).content
