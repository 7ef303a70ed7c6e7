"""Dynamic filtering: selects the groups to train on.

A filter is a function `(reward_PG, valid_PG) -> kind_P` of strings, named in
the config by import path: '' keeps a group, anything else names why it is
dead. Dead groups never reach the loss; other tasks are played instead.
"""

from collections.abc import Callable

import numpy as np

Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]

ALL_FAIL, ALL_PASS, TOO_FEW = 'all_fail', 'all_pass', 'too_few'
KINDS = (ALL_FAIL, ALL_PASS, TOO_FEW)


def mixed(reward_PG: np.ndarray, valid_PG: np.ndarray) -> np.ndarray:
  """Keeps a group whose valid rewards differ.

  Source: DAPO, arXiv:2503.14476 section 3.2.

  Args:
    reward_PG: reward of each episode.
    valid_PG: bool, episodes that enter the baseline.

  Returns:
    kind_P: '' or one of KINDS; fewer than two valid episodes are too few.
  """
  count_P = valid_PG.sum(1)
  low_P = np.where(valid_PG, reward_PG, np.inf).min(1)
  high_P = np.where(valid_PG, reward_PG, -np.inf).max(1)
  # Equal rewards are 'all pass' only at the full reward: partial ones that tie
  # count as failed.
  dead_P = np.where(low_P >= 1, ALL_PASS, ALL_FAIL)
  return np.where(count_P < 2, TOO_FEW, np.where(low_P < high_P, '', dead_P))


def keep_all(reward_PG: np.ndarray, valid_PG: np.ndarray) -> np.ndarray:
  """Keeps every group with two valid episodes: the ablation."""
  del reward_PG
  return np.where(valid_PG.sum(1) < 2, TOO_FEW, '')
