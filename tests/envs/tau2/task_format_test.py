"""Tasks in the benchmark's own form are tasks to the benchmark, and the same
ones to us."""

import dataclasses
import json

import pytest

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.envs import load as env_load
from agentrl.envs.tau2 import task_format

CERTIFICATE = types.Certificate((True,), (), {'noop': False}, 2, 1, 1, (), 1.0,
                                'f0')
TASK = types.Task(
    'orders-train-00000', 'orders', 'You are Ada.\n\nCancel tinyKoala.',
    types.Criteria((types.Action('cancel', {'order': 'tinyKoala'},
                                 id='gold.0', info='write'),),
                   communicate_info=('30',)),
    {'seed': 3, 'split': 'train'}, 'def check_it(c): return True',
    families=('cancel',), certificate=CERTIFICATE,
    database='abc', meta={'plan': {'id': 'orders/1/brief'}})


@pytest.fixture(scope='module')
def model():
  return pytest.importorskip(
      'tau2.data_model.tasks',
      reason='needs the real benchmark: pip install -e .[tau2]').Task


def stored(task):
  return json.loads(json.dumps(task_format.entry(task)))


def test_a_task_with_a_checker(tmp_path):
  databases = tmp_path / 'databases'
  databases.mkdir()
  (databases / 'abc.json').write_text('{}')
  task_format.write(tmp_path, 'train', [TASK, TASK])
  found, same = files.read_json(tmp_path / 'tau2_tasks_train.json')
  assert found == same
  assert found['db_path'] == 'databases/abc.json'
  assert found['initial_state'] is None
  assert found['evaluation_criteria']['reward_basis'] == ['DB', 'COMMUNICATE']
  assert found['agentrl'] == {
      'domain': 'orders', 'kind': 'do', 'families': ['cancel'],
      'checker': TASK.checker, 'certificate': jsons.to_json(CERTIFICATE),
      'plan': {'id': 'orders/1/brief'},
      'initial_state': {'seed': 3, 'split': 'train'}}


def test_the_benchmark_reads_ours(model):
  task = model.model_validate(stored(TASK))
  assert task.user_scenario.instructions == TASK.scenario
  assert task.evaluation_criteria.actions[0].arguments == {
      'order': 'tinyKoala'}
  assert task.evaluation_criteria.communicate_info == ['30']


@pytest.mark.parametrize('domain, split', [
    ('airline', 'base'), ('retail', 'base'), ('telecom', 'test')])
def test_a_task_of_the_benchmark_comes_back(domain, split, model):
  env = env_load.load(f'tau2:{domain}')
  tasks = env.tasks(split)
  assert [env.task(stored(task)) for task in tasks] == tasks


@pytest.mark.parametrize('scenario', [
    dict(persona='A.\n\n \n\tB.', instructions='C\n\tDomain: d\n'),
    dict(persona=None, instructions=dict(
        domain='retail', reason_for_call='A\n\n\tKnown info:\n  B\x0c\nC',
        known_info=None, unknown_info='\t\tD\n ', task_instructions=''))])
def test_whatever_a_scenario_says_comes_back(scenario, model):
  env = env_load.load('tau2:retail')
  record = dict(stored(TASK), user_scenario=scenario)
  task = env.task(dict(record, user_scenario=scenario))
  assert stored(task)['user_scenario'] == {
      k: {n: t for n, t in v.items() if t is not None}
      if isinstance(v, dict) else v for k, v in scenario.items() if v}
  own = dataclasses.replace(task, certificate=CERTIFICATE)
  assert env.task(stored(own)) == task
