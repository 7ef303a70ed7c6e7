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
  figures = _summary(tasks, 'SSSF FFFU SSSS')
  assert (figures['num_tasks'], figures['num_trials']) == (3, 4)
  assert figures['pass^1'] == pytest.approx((0.75 + 0 + 1) / 3)
  assert figures['pass^2'] == pytest.approx((0.5 + 0 + 1) / 3)
  assert figures['pass^4'] == pytest.approx(1 / 3)
  assert figures['pass@2'] == pytest.approx(2 / 3)
  low, high = figures['pass^1_interval']
  assert 0 <= low < figures['pass^1'] < high <= 1
  assert figures['floors'] == {
      'noop': 0, 'refuse': pytest.approx(1 / 3), 'transfer': 0}
  assert figures['gold'] == 1
  assert figures['user_fault_rate'] == pytest.approx(1 / 12)
  assert figures['outcomes']['failure'] == 4
  assert sum(figures['outcomes'].values()) == 12
  assert figures['by']['kind']['transfer']['pass^1'] == 1
  assert figures['repeats']['flip_share'] == pytest.approx(1 / 3)
  assert 0 < figures['repeats']['detectable'] < 1
  assert figures['tasks'] == {
      'desk/dim': [3, 4], 'desk/both': [0, 4], 'desk/pay': [4, 4]}
  json.dumps(figures)


def test_lost_trials_are_left_out_and_counted(tasks):
  figures = _summary(tasks, 'SI II')
  # Task 0 has one trial, task 1 none: neither is a zero.
  assert figures['pass^1'] == 1 and figures['pass^2'] is None
  assert figures['excluded'] == 3
  assert figures['left_out'] == {'pass^1': 1, 'pass^2': 2}
  assert figures['with_excluded'] == 0.25
  assert 'db_only' not in figures  # nobody looked


def test_the_database_alone_stands_beside_the_verdict(tasks):
  known = {'S': 1.0, 'F': 1.0, 'U': 0.0, 'I': None}  # F: right, but untold
  episodes = [
      dataclasses.replace(e, score=dataclasses.replace(
          e.score, db=known[letter]))
      for e, letter in zip(_episodes(tasks, 'SF UF II'), 'SFUFII')]
  figures = results.summarize(tasks[:3], episodes, scripts=_scripts(3))
  assert figures['pass^1'] == 0.25
  assert figures['db_only'] == 0.75  # three of the four that count


def test_floors_of_tasks_that_hang_on_a_judge_are_unknown(tasks):
  scripts = {**_scripts(2), 'gold': [math.nan, 1.0], 'noop': [math.nan] * 2}
  figures = results.summarize(tasks[:2], _episodes(tasks, 'SS SS'),
                              scripts=scripts)
  assert figures['gold'] == 1 and figures['floors']['noop'] is None


def test_every_task_needs_a_name_and_its_trials(tasks):
  for some in ([tasks[0]] * 2, []):
    with pytest.raises(ValueError, match='one name'):
      results.summarize(some, _episodes(some, 'SS SS'), scripts={})
  with pytest.raises(ValueError, match='3 episodes of 2 tasks'):
    results.summarize(tasks[:2], _episodes(tasks, 'SS S'), scripts={})


def _folder(path, figures, measurement='m'):
  files.write_json(path / 'metrics.json', {
      **figures, 'seed': 0, 'measurement': measurement,
      'measurement_parts': {'tasks': measurement}})
  return path


def test_compare_is_paired_and_refuses_another_measurement(tasks, tmp_path):
  before = _folder(tmp_path / 'a', _summary(tasks, 'SF FF FF'))
  after = _folder(tmp_path / 'b', _summary(tasks, 'SS FF SF'))
  figures = results.compare(before, after)
  assert figures['pass^1'].value == pytest.approx((0.5 + 0 + 0.5) / 3)
  assert figures['pass^2'].value == pytest.approx(1 / 3)
  other = _folder(tmp_path / 'c', _summary(tasks, 'SS FF SF'), 'other')
  with pytest.raises(ValueError, match='Not comparable.*different: tasks'):
    results.compare(before, other)
  fewer = _folder(tmp_path / 'd', _summary(tasks, 'SS FF'))
  with pytest.raises(ValueError, match="not over the same tasks.*'desk/pay'"):
    results.compare(before, fewer)
