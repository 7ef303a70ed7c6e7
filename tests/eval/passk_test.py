"""pass^k and pass@k: worked numbers, then laws."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from agentrl.eval import passk

COUNTS = st.integers(1, 8).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_worked_example():
  # Task 0: 3 of 4 succeed. Pairs without the failure: C(3,2)/C(4,2) = 3/6.
  success_P, trials_P = np.array([3, 4, 0, 1]), np.array([4, 4, 4, 2])
  np.testing.assert_allclose(
      passk.pass_hat_k(success_P, trials_P, 2), [0.5, 1, 0, 0])
  np.testing.assert_allclose(
      passk.pass_at_k(success_P, trials_P, 2), [1, 1, 0, 1])
  np.testing.assert_allclose(
      passk.pass_hat_k(success_P, trials_P, 4), [0, 1, 0, np.nan])


@given(COUNTS, st.integers(1, 9))
def test_too_few_trials_are_no_number(counts, k):
  value_P = passk.pass_hat_k(np.array(counts[:1]), np.array(counts[1:]), k)
  assert np.isnan(value_P[0]) == (counts[1] < k)


@given(COUNTS)
def test_is_the_mean_over_all_draws_without_replacement(counts):
  c, n = counts
  results = [1] * c + [0] * (n - c)
  for k in range(1, n + 1):
    draws = list(itertools.combinations(results, k))
    args = np.array([c]), np.array([n]), k
    assert passk.pass_hat_k(*args)[0] == pytest.approx(
        np.mean([all(d) for d in draws]))
    assert passk.pass_at_k(*args)[0] == pytest.approx(
        np.mean([any(d) for d in draws]))


@given(COUNTS)
def test_one_trial_is_the_mean_and_more_are_monotone(counts):
  c, n = np.array([counts[0]]), np.array([counts[1]])
  hat = [passk.pass_hat_k(c, n, k)[0] for k in range(1, n[0] + 1)]
  at = [passk.pass_at_k(c, n, k)[0] for k in range(1, n[0] + 1)]
  assert hat[0] == pytest.approx(c[0] / n[0]) and at[0] == pytest.approx(hat[0])
  assert (np.diff(hat) <= 1e-12).all() and (np.diff(at) >= -1e-12).all()


@pytest.mark.parametrize('success, trials, k, what', [
    ([1], [2], 0, 'k must be'), ([3], [2], 1, '3 successes in 2'),
    ([-1], [2], 1, '-1 successes'), ([1, 1], [2], 1, 'one count')])
def test_refuses_counts_that_cannot_be(success, trials, k, what):
  with pytest.raises(ValueError, match=what):
    passk.pass_hat_k(np.array(success), np.array(trials), k)
