"""What is made of episodes, and what is refused to compare."""

import dataclasses
import json
import math

import pytest

from agentrl import files
from agentrl import types
from agentrl.envs import dialogue
from agentrl.eval import results

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
  return results.summarize(tasks[:count], _episodes(tasks, pattern),
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
  assert found['repeats']['flip_share'] == pytest.approx(1 / 3)
  assert 0 < found['repeats']['detectable'] < 1
  assert found['tasks'] == {
      'desk/dim': [3, 4], 'desk/both': [0, 4], 'desk/pay': [4, 4]}
  json.dumps(found)


def test_lost_trials_are_left_out_and_counted(tasks):
  found = _summary(tasks, 'SI II')
  # Task 0 has one trial, task 1 none: neither is a zero.
  assert found['pass^1'] == 1 and found['pass^2'] is None
  assert found['excluded'] == 3
  assert found['left_out'] == {'pass^1': 1, 'pass^2': 2}
  assert found['with_excluded'] == 0.25
  assert 'db_only' not in found  # nobody looked


def test_the_database_alone_stands_beside_the_verdict(tasks):
  known = {'S': 1.0, 'F': 1.0, 'U': 0.0, 'I': None}  # F: right, but untold
  episodes = [
      dataclasses.replace(e, score=dataclasses.replace(
          e.score, db=known[letter]))
      for e, letter in zip(_episodes(tasks, 'SF UF II'), 'SFUFII')]
  found = results.summarize(tasks[:3], episodes, scripts=_scripts(3))
  assert found['pass^1'] == 0.25
  assert found['db_only'] == 0.75  # three of the four that count


def test_floors_of_tasks_that_hang_on_a_judge_are_unknown(tasks):
  scripts = {**_scripts(2), 'gold': [math.nan, 1.0], 'noop': [math.nan] * 2}
  found = results.summarize(tasks[:2], _episodes(tasks, 'SS SS'),
                            scripts=scripts)
  assert found['gold'] == 1 and found['floors']['noop'] is None


def test_every_task_needs_a_name_and_its_trials(tasks):
  for some in ([tasks[0]] * 2, []):
    with pytest.raises(ValueError, match='one name'):
      results.summarize(some, _episodes(some, 'SS SS'), scripts={})
  with pytest.raises(ValueError, match='3 episodes of 2 tasks'):
    results.summarize(tasks[:2], _episodes(tasks, 'SS S'), scripts={})


def _folder(path, found, measurement='m'):
  files.write_json(path / 'metrics.json', {
      **found, 'seed': 0, 'measurement': measurement,
      'measurement_parts': {'tasks': measurement}})
  return path


def test_compare_is_paired_and_refuses_another_measurement(tasks, tmp_path):
  before = _folder(tmp_path / 'a', _summary(tasks, 'SF FF FF'))
  after = _folder(tmp_path / 'b', _summary(tasks, 'SS FF SF'))
  found = results.compare(before, after)
  assert found['pass^1'].value == pytest.approx((0.5 + 0 + 0.5) / 3)
  assert found['pass^2'].value == pytest.approx(1 / 3)
  other = _folder(tmp_path / 'c', _summary(tasks, 'SS FF SF'), 'other')
  with pytest.raises(ValueError, match='Not comparable.*different: tasks'):
    results.compare(before, other)
  fewer = _folder(tmp_path / 'd', _summary(tasks, 'SS FF'))
  with pytest.raises(ValueError, match="not over the same tasks.*'desk/pay'"):
    results.compare(before, fewer)
