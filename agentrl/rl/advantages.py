"""Group-relative advantages of whole trajectories.

A new one is a function `(reward_PG, valid_PG) -> adv_PG`, named in the config
by import path. P tasks, G samples of each; episodes that `envs.outcomes` keeps
out of the baseline are not valid, and get advantage 0.
"""

import numpy as np


def group_normalized(reward_PG: np.ndarray, valid_PG: np.ndarray) -> np.ndarray:
  """Returns (R - mean) / (std + 1e-6) within each group, population std.

  Source: GRPO, arXiv:2402.03300 section 4.1.2; over trajectories of dialogues:
  arXiv:2601.22607.

  Args:
    reward_PG: reward of each episode.
    valid_PG: bool, episodes that count; the others get 0 and move no mean.

  Returns:
    adv_PG float32; sums to 0 over the valid of each group.

  Raises:
    ValueError: shapes disagree.
  """
  centered_PG, count_P1 = _centered(reward_PG, valid_PG)
  std_P1 = np.sqrt((centered_PG**2).sum(1, keepdims=True) / count_P1)
  return (centered_PG / (std_P1 + 1e-6)).astype(np.float32)


def group_mean(reward_PG: np.ndarray, valid_PG: np.ndarray) -> np.ndarray:
  """Returns R - mean, without division: Dr. GRPO, arXiv:2503.20783 eq. 3."""
  return _centered(reward_PG, valid_PG)[0].astype(np.float32)


def _centered(reward_PG: np.ndarray,
              valid_PG: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  if reward_PG.shape != valid_PG.shape or reward_PG.ndim != 2:
    raise ValueError(f'reward_PG {reward_PG.shape} and valid_PG '
                     f'{valid_PG.shape} must have one shape (tasks, samples).')
  count_P1 = np.maximum(valid_PG.sum(1, keepdims=True), 1)
  mean_P1 = (reward_PG * valid_PG).sum(1, keepdims=True) / count_P1
  return (reward_PG - mean_P1) * valid_PG, count_P1
