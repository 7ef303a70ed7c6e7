"""Estimates pass^k and pass@k of each task, unbiased, from its successes."""

from __future__ import annotations

import numpy as np


def pass_hat_k(success_P: np.ndarray, trials_P: np.ndarray,
               k: int) -> np.ndarray:
  """Returns the chance that k fresh trials *all* succeed: C(c, k) / C(n, k).

  Source: tau-bench, arXiv:2406.12045 section 3.

  Args:
    success_P: c, number of trials of each task that succeeded.
    trials_P: n, number of trials of each task that count.
    k: number of fresh trials.

  Returns:
    value_P in [0, 1]; NaN where a task has fewer than k trials, because no
    unbiased estimate exists there. Leave those out of the mean, and say so.

  Raises:
    ValueError: k < 1, or an impossible number of successes.
  """
  success_P, trials_P = _counts(success_P, trials_P, k)
  drawn = np.arange(k)
  # C(c, k) / C(n, k) = prod over i < k of (c - i) / (n - i); where n < k one
  # factor is 0 / 0, which gives the NaN.
  with np.errstate(invalid='ignore'):
    ratio_PK = (np.maximum(success_P[:, None] - drawn, 0)
                / (trials_P[:, None] - drawn))
  return ratio_PK.prod(axis=1)


def pass_at_k(success_P: np.ndarray, trials_P: np.ndarray,
              k: int) -> np.ndarray:
  """Returns the chance that *any* of k fresh trials succeeds.

  It is 1 - C(n - c, k) / C(n, k).

  Source: Codex, arXiv:2107.03374 eq. 1.

  Args:
    success_P: c, see `pass_hat_k`.
    trials_P: n, see `pass_hat_k`.
    k: number of fresh trials.

  Returns:
    value_P in [0, 1]; NaN where a task has fewer than k trials.

  Raises:
    ValueError: see `pass_hat_k`.
  """
  success_P, trials_P = _counts(success_P, trials_P, k)
  return 1 - pass_hat_k(trials_P - success_P, trials_P, k)


def _counts(success_P: np.ndarray, trials_P: np.ndarray,
            k: int) -> tuple[np.ndarray, np.ndarray]:
  success_P, trials_P = np.asarray(success_P), np.asarray(trials_P)
  if k < 1:
    raise ValueError(f'k must be at least 1, got {k}.')
  if success_P.shape != trials_P.shape or success_P.ndim != 1:
    raise ValueError(f'{success_P.shape} successes for {trials_P.shape} '
                     'trials: pass one count of each a task.')
  if ((success_P < 0) | (success_P > trials_P)).any():
    at = int(np.argmax((success_P < 0) | (success_P > trials_P)))
    raise ValueError(f'Task {at} has {success_P[at]} successes in '
                     f'{trials_P[at]} trials.')
  return success_P, trials_P
