"""Draws new telecom tasks from the benchmark's own full set."""

from __future__ import annotations

import random

from agentrl import types
from agentrl.envs.tau2 import env as tau2_env


def draw(env: tau2_env.Tau2, seed: int, count: int) -> list[types.Task]:
  """Draws tasks of the full set that are not in the base set.

  Raises:
    ValueError: there are fewer than `count`.
  """
  base = {task.id for task in env.tasks('base')}
  others = [task for task in env.tasks('full') if task.id not in base]
  if count > len(others):
    raise ValueError(f'config.num_new={count}, but telecom has {len(others)} '
                     'tasks beside its base set: ask for fewer.')
  return random.Random(f'{seed} telecom').sample(others, count)
