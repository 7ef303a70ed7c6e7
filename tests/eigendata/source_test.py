"""Both sources, and all domains, have the members that the engine uses."""

import inspect
import typing

import pytest

from agentrl import types
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.write import drafted
from agentrl.eigendata.write import invented
from agentrl.envs import domain
from agentrl.envs import load as env_load


def members(protocol):
  """Names of what a protocol declares, inherited ones too."""
  names = set(typing.get_type_hints(protocol))
  names |= {n for n, _ in inspect.getmembers(protocol, inspect.isfunction)}
  return {n for n in names if not n.startswith('_')}


def same_arguments(one, two):
  return (list(inspect.signature(one).parameters)
          == list(inspect.signature(two).parameters))


def lacks(value, protocol):
  return [n for n in sorted(members(protocol)) if not hasattr(value, n)]


def test_the_check_sees_what_is_missing():
  assert 'draw' in members(source_lib.TaskSource)
  assert {'start', 'policy'} <= members(source_lib.WritableEnv)
  assert lacks(object(), source_lib.TaskSource) == sorted(
      members(source_lib.TaskSource))


@pytest.mark.parametrize('kind', [drafted.DraftedTasks, invented.InventedTasks])
def test_a_source_has_all_members(kind):
  source = kind(env_load.load('orders', {'prompt': 'brief'}))
  assert not lacks(source, source_lib.TaskSource)
  assert not lacks(source.env, source_lib.WritableEnv)
  for name in ('families', 'draw', 'intent', 'review'):
    assert same_arguments(getattr(kind, name),
                          getattr(source_lib.TaskSource, name))


def test_the_benchmark_is_writable():
  pytest.importorskip('tau2')
  from agentrl.eigendata.tau2 import domain as tau2_domain  # needs the extra
  env = tau2_domain.Tau2Domain('retail', prompt='brief')
  assert not lacks(env, source_lib.WritableEnv)
  assert not lacks(env.start(env.tasks('train')[0]),
                   source_lib.WritableWorld)
  task = env.tasks('train')[0]
  named = env.entities(task, [task.scenario])
  assert named and named.isdisjoint(env.entities(task, ['Nobody.']))
  assert any('"users"' in text for text in env.database_texts(task))
  assert env.database(**(task.initial_state or {})) == ''
  # A task without a checker of its own is judged by the evaluator alone.
  assert len(env.verdicts(task, env.start(task), [])) == 1


def test_a_domain_with_drafts_is_asked_for_them(make_context):
  sources = make_context(domains=['lamp_shop', 'orders']).sources
  assert {type(s) for s in sources.values()} == {drafted.DraftedTasks}
  assert isinstance(sources['orders'].env, domain.Domain)
  assert sources['lamp_shop'].families() == ['dim', 'dark', 'sell']


def test_entities_and_texts_of_a_folder(config):
  config()
  env = env_load.load('lamp_shop', {})
  tables = env.tables(0, 'train')
  lamp = next(iter(tables['lamps']))
  task = types.Task('', env.name, f'Dim {lamp}.',
                    initial_state=env.initial_state(0, 'train'))
  assert env.entities(task, [task.scenario]) == {lamp}
  text, = env.database_texts(task)
  assert lamp in text


def test_a_description_names_tools_and_tables(config):
  config()
  known = source_lib.describe(env_load.load('lamp_shop', {}))
  assert set(known) == {'policy', 'tools', 'tables'}
  assert 'set_level' in known['tools']['assistant']
