"""Intervals over tasks, paired differences, and what repeated trials show."""

import numpy as np
import pytest

from agentrl.eval import passk
from agentrl.eval import stats

# Shapes of how difficult tasks are: all or nothing, hard, even.
SHAPES = {'bimodal': (0.3, 0.3), 'hard': (0.4, 1.6), 'even': (2.0, 2.0)}
RUNS = 1000


def covers(estimate, true):
  return estimate.low <= true <= estimate.high


def beta_moment(a, b, k):
  """E[p^k] of a Beta distribution."""
  i = np.arange(k)
  return float(np.prod((a + i) / (a + b + i)))


def test_mean_weight_and_missing_tasks():
  value_P = np.array([0.0, 1.0, np.nan, 0.5])
  assert stats.share(value_P).value == pytest.approx(0.5)
  assert stats.share(value_P).tasks == 3
  weighed = stats.share(value_P, np.array([1, 3, 9, 0]))
  assert (weighed.value, weighed.tasks) == (pytest.approx(0.75), 2)


def test_a_proportion_has_the_interval_of_the_textbook():
  # Wilson's interval of 9 of 10 is (0.596, 0.982).
  estimate = stats.share(np.array([1.0] * 9 + [0.0]))
  np.testing.assert_allclose([estimate.low, estimate.high], [0.596, 0.982],
                             atol=5e-4)


def test_tasks_that_all_agree_still_have_a_width():
  none, all_ = (stats.share(np.full(20, x)) for x in (0.0, 1.0))
  assert (none.low, all_.high) == (0, 1)
  assert none.high == pytest.approx(1 - all_.low)
  assert 0.1 < none.high < 0.2  # the rule of three says 0.15


def test_the_interval_is_of_the_weighted_mean():
  estimate = stats.share(np.tile([0.0, 1.0], 50), np.tile([1, 3], 50))
  assert 0.6 < estimate.low < 0.75 < estimate.high < 0.9


def test_no_task_is_no_number():
  none = stats.share(np.array([np.nan]))
  assert none.to_json('x') == {'x': None, 'x_interval': None}


def test_interval_agrees_with_the_normal_one_on_many_tasks():
  value_P = np.random.default_rng(0).uniform(size=400)
  estimate = stats.share(value_P)
  half = 1.96 * value_P.std() / 20
  np.testing.assert_allclose(
      [estimate.low, estimate.high],
      [estimate.value - half, estimate.value + half], atol=0.1 * half)


@pytest.mark.parametrize('k', [1, 4])
@pytest.mark.parametrize('tasks', [20, 40, 114, 250])
@pytest.mark.parametrize('shape', SHAPES)
def test_the_interval_covers_as_often_as_it_says(shape, tasks, k):
  # Trials of a task share its difficulty: drawing trials would be too sure.
  rng, (a, b) = np.random.default_rng(0), SHAPES[shape]
  wins_RP = rng.binomial(4, rng.beta(a, b, size=(RUNS, tasks)))
  true = beta_moment(a, b, k)
  four_P = np.full(tasks, 4)
  hits = sum(covers(stats.share(passk.pass_hat_k(wins_P, four_P, k)), true)
             for wins_P in wins_RP)
  assert 0.90 <= hits / RUNS <= 0.98


@pytest.mark.parametrize('k', [1, 4])
@pytest.mark.parametrize('tasks', [20, 114])
@pytest.mark.parametrize('shape', SHAPES)
def test_the_paired_interval_covers_too(shape, tasks, k):
  rng, (a, b) = np.random.default_rng(0), SHAPES[shape]
  before_RP = rng.beta(a, b, size=(RUNS, tasks))
  after_RP = before_RP**0.8  # better in each task, most in the middle
  draw = np.random.default_rng(1).beta(a, b, size=10**6)
  true = float((draw**(0.8 * k) - draw**k).mean())
  names, four_P = [str(i) for i in range(tasks)], np.full(tasks, 4)
  each = lambda rates_P: dict(zip(names, passk.pass_hat_k(
      rng.binomial(4, rates_P), four_P, k)))
  hits = sum(covers(stats.difference(each(x), each(y)), true)
             for x, y in zip(before_RP, after_RP))
  assert hits / RUNS >= 0.93


def test_pairing_removes_the_difficulty_that_tasks_share():
  hard_P = np.random.default_rng(0).uniform(high=0.9, size=100)
  a = {str(i): x for i, x in enumerate(hard_P)}
  b = {name: x + 0.1 for name, x in reversed(a.items())}
  estimate = stats.difference(a, b)
  assert estimate.value == pytest.approx(0.1)
  assert estimate.high - estimate.low < 0.05


def test_a_difference_that_no_task_shows_has_a_width():
  same = {str(i): 0.5 for i in range(20)}
  estimate = stats.difference(same, same)
  assert estimate.low < 0 == estimate.value < estimate.high


def test_difference_leaves_out_tasks_without_a_value():
  estimate = stats.difference({'x': 0.0, 'y': np.nan}, {'x': 1.0, 'y': 1.0})
  assert (estimate.value, estimate.tasks) == (1.0, 1)


def test_other_tasks_are_refused():
  with pytest.raises(ValueError, match="not over the same tasks.*'z'"):
    stats.difference({'x': 0.0}, {'x': 0.0, 'z': 1.0})


def test_repeats_of_a_worked_example():
  repeats = stats.repeats(np.array([2, 1, 0, 1]), np.array([2, 2, 2, 1]))
  assert (repeats.tasks, repeats.flip_share) == (3, pytest.approx(1 / 3))
  # Means 1, 0.5, 0: between 2 * 0.5 / 2 = 0.5; within 0.5 / 3 = 1/6.
  assert repeats.icc == pytest.approx((0.5 - 1 / 6) / (0.5 + 1 / 6))
  assert repeats.detectable == pytest.approx(2.8016 * (2 / 6 / 6)**0.5, 1e-3)


def test_trials_that_agree_and_trials_that_are_coins():
  four_P = np.full(500, 4)
  agree = stats.repeats(np.tile([0, 4], 250), four_P)
  assert (agree.flip_share, agree.icc) == (0, 1)
  coins = stats.repeats(np.random.default_rng(0).binomial(4, 0.5, 500), four_P)
  assert coins.flip_share == pytest.approx(7 / 8, abs=0.05)
  assert abs(coins.icc) < 0.05
  assert stats.repeats(np.zeros(9), np.full(9, 4)).icc is None
  assert stats.repeats(np.array([1]), np.array([1])).detectable is None


def test_the_detectable_difference_is_found_in_four_of_five_cases():
  rng, tasks, trials = np.random.default_rng(0), 200, 4
  rate_P, four_P = rng.uniform(0.2, 0.7, tasks), np.full(tasks, trials)
  gain = stats.repeats(rng.binomial(trials, rate_P), four_P).detectable
  names = [str(i) for i in range(tasks)]
  each = lambda rates_P: dict(zip(names, rng.binomial(trials, rates_P) / 4))
  hits = sum(stats.difference(each(rate_P), each(rate_P + gain)).low > 0
             for _ in range(RUNS))
  assert 0.75 <= hits / RUNS <= 0.85


def test_another_measurement_is_refused_by_name():
  a = {'measurement': 'aa', 'measurement_parts': {'user': '1', 'tasks': '2'}}
  b = {'measurement': 'bb', 'measurement_parts': {'user': '9', 'tasks': '2'}}
  stats.check_comparable(a, dict(a))
  with pytest.raises(ValueError, match='different: user'):
    stats.check_comparable(a, b)


def test_bad_values_are_refused():
  with pytest.raises(ValueError, match='equal length'):
    stats.share(np.zeros(2), np.zeros(3))
  with pytest.raises(ValueError, match='must lie in'):
    stats.share(np.array([0.5, 1.5]))
