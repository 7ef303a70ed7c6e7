"""What an evaluation says, and what it refuses to compare."""

import dataclasses
import json

import pytest

from agentrl import metrics
from agentrl import runs
from agentrl import types
from agentrl.envs import dialogue
from agentrl.eval import floors
from agentrl.eval import run
from configs.eval import builtin

O = types.Outcome
KEYS = {'S': O.SUCCESS, 'F': O.FAILURE, 'U': O.USER_FAULT, 'I': O.INFRA}


def _episodes(tasks, pattern):
  """`pattern`: a word a task, a letter a trial."""
  return [
      types.Episode(task.id, g, (dialogue.GREETING,), 'user_stop', KEYS[letter],
                    types.Score(float(letter == 'S')), 1)
      for task, word in zip(tasks, pattern.split())
      for g, letter in enumerate(word)]


def _scripts(count):
  return {'noop': [0.0] * count, 'refuse': [1.0] + [0.0] * (count - 1),
          'transfer': [0.0] * count, 'gold': [1.0] * count}


def _summary(tasks, pattern):
  count = len(pattern.split())
  return run.summarize(tasks[:count], _episodes(tasks, pattern), seed=0,
                       scripts=_scripts(count))


def test_worked_example(tasks):
  found = _summary(tasks, 'SSSF FFFU SSSS')
  assert (found['num_tasks'], found['num_trials']) == (3, 4)
  assert found['pass^1'] == pytest.approx((0.75 + 0 + 1) / 3)
  assert found['pass^2'] == pytest.approx((0.5 + 0 + 1) / 3)
  assert found['pass^4'] == pytest.approx(1 / 3)
  assert found['pass@2'] == pytest.approx(2 / 3)
  low, high = found['pass^1_interval']
  assert 0 <= low < found['pass^1'] < high <= 1
  assert found['floors'] == {
      'noop': 0, 'refuse': pytest.approx(1 / 3), 'transfer': 0}
  assert found['gold'] == 1
  assert found['user_fault_rate'] == pytest.approx(1 / 12)
  assert found['outcomes']['failure'] == 4
  assert sum(found['outcomes'].values()) == 12
  assert found['by']['kind']['transfer']['pass^1'] == 1
  assert found['tasks'] == {
      'desk/dim': [3, 4], 'desk/both': [0, 4], 'desk/pay': [4, 4]}
  json.dumps(found)


def test_lost_trials_are_left_out_and_counted(tasks):
  found = _summary(tasks, 'SI II')
  # Task 0 has one trial, task 1 none: neither is a zero.
  assert found['pass^1'] == 1 and found['pass^2'] is None
  assert found['excluded'] == 3
  assert found['left_out'] == {'pass^1': 1, 'pass^2': 2}


def test_every_task_needs_a_name_and_its_trials(tasks):
  for some in ([tasks[0]] * 2, []):
    with pytest.raises(ValueError, match='one name'):
      run.summarize(some, _episodes(some, 'SS SS'), seed=0, scripts={})
  with pytest.raises(ValueError, match='3 episodes of 2 tasks'):
    run.summarize(tasks[:2], _episodes(tasks, 'SS S'), seed=0, scripts={})


def test_measurement_names_what_differs(desk, tasks):
  base = dict(user='u1', protocol={'trials': 4})
  parts = run.measurement(desk, tasks, **base)
  assert parts == run.measurement(desk, tasks, **base)
  harder = [dataclasses.replace(tasks[0], checker='x'), *tasks[1:]]
  for part, other in {
      'user': run.measurement(desk, tasks, user='u2', protocol={'trials': 4}),
      'protocol': run.measurement(desk, tasks, user='u1', protocol={}),
      'tasks': run.measurement(desk, harder, **base)}.items():
    assert [k for k in parts if parts[k] != other[k]] == [part]


def test_slots_do_not_change_the_measurement_but_temperature_does():
  config = builtin.get_config()
  base = run._protocol(config)
  config.sampler.slots += 1
  assert run._protocol(config) == base
  config.user_sampler.temperature = 0.5
  assert run._protocol(config) != base


def _folder(path, found, measurement='m'):
  metrics.write_json(path / 'metrics.json', {
      **found, 'seed': 0, 'measurement': measurement,
      'measurement_parts': {'tasks': measurement}})
  return path


def test_compare_is_paired_and_refuses_another_measurement(tasks, tmp_path):
  before = _folder(tmp_path / 'a', _summary(tasks, 'SF FF FF'))
  after = _folder(tmp_path / 'b', _summary(tasks, 'SS FF SF'))
  found = run.compare(before, after)
  assert found['pass^1'].value == pytest.approx((0.5 + 0 + 0.5) / 3)
  assert found['pass^2'].value == pytest.approx(1 / 3)
  other = _folder(tmp_path / 'c', _summary(tasks, 'SS FF SF'), 'other')
  with pytest.raises(ValueError, match='Not comparable.*different: tasks'):
    run.compare(before, other)
  fewer = _folder(tmp_path / 'd', _summary(tasks, 'SS FF'))
  with pytest.raises(ValueError, match="not over the same tasks.*'desk/pay'"):
    run.compare(before, fewer)


@pytest.fixture
def config(desk, tasks, tmp_path):
  """Of a scripted evaluation on a data folder with the five tasks."""
  data = tmp_path / 'data'
  lines = data / 'tasks_test.jsonl'
  metrics.write_lines(lines, map(types.dumps, tasks))
  metrics.write_json(data / 'manifest.json', {
      'stage': 'data', 'made': {lines.name: runs.file_digest(lines)}})
  config = builtin.get_config('script=gold')
  config.domains, config.env, config.data = ('desk',), {}, str(data)
  config.trials = 2
  return config


def test_an_evaluation_is_written_whole_and_not_repeated(
    config, tasks, tmp_path):
  folder = tmp_path / 'eval'
  run.evaluate(config, str(folder))
  found = metrics.read_json(folder / 'metrics.json')
  assert found['pass^2'] == 1 and found['gold'] == 1
  assert found['measurement'] and found['versions']['python']
  episodes = list(run.read_transcripts(folder))
  assert [name for name, _ in episodes[::2]] == list(found['tasks'])
  assert [e.trial for _, e in episodes] == [0, 1] * len(tasks)
  before = (folder / 'manifest.json').stat().st_mtime_ns
  run.evaluate(config, str(folder))
  assert (folder / 'manifest.json').stat().st_mtime_ns == before


def test_scripts_measure_as_their_floors_say(config, tmp_path):
  found = {}
  for script in ('noop', 'refuse'):
    config.agent = f'agentrl.eval.floors:{script}'
    run.evaluate(config, str(tmp_path / script))
    found[script] = metrics.read_json(tmp_path / script / 'metrics.json')
  for script, values in found.items():
    assert values['pass^1'] == values['floors'][script]
  with pytest.raises(ValueError, match='different: user'):
    run.compare(tmp_path / 'noop', tmp_path / 'refuse')


def test_unfinished_data_is_refused(config, tmp_path):
  (tmp_path / 'data' / 'manifest.json').unlink()
  with pytest.raises(ValueError, match='config.data.*run that stage first'):
    run.evaluate(config, str(tmp_path / 'eval'))
  assert not (tmp_path / 'eval').exists()


def test_the_configs_scripts_exist():
  for script in ('noop', 'refuse', 'transfer', 'gold'):
    config = builtin.get_config(f'script={script}')
    assert config.agent.endswith(f':{script}') and hasattr(floors, script)
    assert 'user' not in config
