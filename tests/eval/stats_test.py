"""Intervals over tasks and paired differences."""

import numpy as np
import pytest

from agentrl.eval import stats


def test_mean_weight_and_missing_tasks():
  value_P = np.array([0.0, 1.0, np.nan, 0.5])
  assert stats.mean(value_P, seed=0).value == pytest.approx(0.5)
  assert stats.mean(value_P, seed=0).tasks == 3
  weighed = stats.mean(value_P, np.array([1, 3, 9, 0]), seed=0)
  assert (weighed.value, weighed.tasks) == (pytest.approx(0.75), 2)


def test_the_interval_is_of_the_weighted_mean():
  estimate = stats.mean(np.tile([0.0, 1.0], 50), np.tile([1, 3], 50), seed=0)
  assert 0.6 < estimate.low < 0.75 < estimate.high < 0.9


def test_no_task_is_no_number():
  none = stats.mean(np.array([np.nan]), seed=0)
  assert none.to_json('x') == {'x': None, 'x_interval': None}


def test_interval_agrees_with_the_normal_one_on_many_tasks():
  value_P = np.random.default_rng(0).uniform(size=400)
  estimate = stats.mean(value_P, seed=1)
  half = 1.96 * value_P.std() / 20
  np.testing.assert_allclose(
      [estimate.low, estimate.high],
      [estimate.value - half, estimate.value + half],
      atol=0.1 * half)


def test_the_interval_covers_as_often_as_it_says():
  rng = np.random.default_rng(0)
  # Trials of a task share its difficulty: drawing trials would be too sure.
  hits = 0
  for i in range(200):
    difficulty_P = rng.beta(0.5, 0.5, size=80)
    value_P = rng.binomial(4, difficulty_P) / 4
    estimate = stats.mean(value_P, seed=i)
    hits += estimate.low <= 0.5 <= estimate.high
  assert 0.9 <= hits / 200 <= 0.99


def test_same_seed_same_interval():
  value_P = np.random.default_rng(0).uniform(size=30)
  assert stats.mean(value_P, seed=3) == stats.mean(value_P, seed=3)
  assert stats.mean(value_P, seed=3) != stats.mean(value_P, seed=4)


def test_pairing_removes_what_the_tasks_share():
  hard_P = np.random.default_rng(0).uniform(size=100)
  a = {str(i): x for i, x in enumerate(hard_P)}
  b = {name: x + 0.1 for name, x in reversed(a.items())}
  estimate = stats.difference(a, b, seed=0)
  np.testing.assert_allclose([estimate.low, estimate.value, estimate.high], 0.1)


def test_difference_leaves_out_tasks_without_a_value():
  estimate = stats.difference({'x': 0.0, 'y': np.nan}, {'x': 1.0, 'y': 1.0},
                              seed=0)
  assert (estimate.value, estimate.tasks) == (1.0, 1)


def test_other_tasks_are_refused():
  with pytest.raises(ValueError, match="not over the same tasks.*'z'"):
    stats.difference({'x': 0.0}, {'x': 0.0, 'z': 1.0}, seed=0)


def test_another_measurement_is_refused_by_name():
  a = {'measurement': 'aa', 'measurement_parts': {'user': '1', 'tasks': '2'}}
  b = {'measurement': 'bb', 'measurement_parts': {'user': '9', 'tasks': '2'}}
  stats.check_comparable(a, dict(a))
  with pytest.raises(ValueError, match='different: user'):
    stats.check_comparable(a, b)


def test_shapes_must_agree():
  with pytest.raises(ValueError, match='equal length'):
    stats.mean(np.zeros(2), np.zeros(3), seed=0)
