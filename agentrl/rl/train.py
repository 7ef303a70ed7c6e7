"""GRPO on whole dialogues, against executable checkers: the loop."""

from __future__ import annotations

import functools
import time

import jax
import ml_collections
import numpy as np
import tqdm

from agentrl import checkpoint
from agentrl import resolve
from agentrl import runs
from agentrl import sharding
from agentrl.data import tasks as tasks_lib
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import outcomes
from agentrl.rl import collect
from agentrl.rl import losses
from agentrl.rollout import play as play_lib
from agentrl.rollout import policy as policy_lib
from agentrl.rollout import trajectory
from agentrl.train import optimizer
from agentrl.train import update as update_lib


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Improves an agent by GRPO; source: arXiv:2601.22607, `recipe` in BUILD.md.

  Args:
    config: see configs/grpo/builtin.py.
    workdir: folder of this stage; a run that was stopped goes on from its
      last checkpoint as if nothing had been.

  Raises:
    ValueError: a wrong config, or inputs of another kind.
    rl.collect.GroupsDied: no batch could be filled.
  """
  run = runs.start(workdir, 'grpo', config, inputs={
      'data': config.data, 'agent': config.init_from, 'user': config.user})
  if run.done:
    return
  env = env_lib.load_many(config.domains, config.env)
  tasks = tasks_lib.read(config.data, 'train')
  agent = policy_lib.load(config.init_from, config.mesh, **config.sampler)
  user = policy_lib.load(config.user, config.mesh, **config.user_sampler)
