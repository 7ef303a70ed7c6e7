"""Sections that configs of several stages share."""

from __future__ import annotations

from typing import Any

import ml_collections

DOMAINS = ('orders', 'router')


def lora() -> dict[str, Any]:
  """Returns full fine-tuning; `rank` above 0 trains adapters of init_from."""
  return dict(rank=0, alpha=16.0, targets=r'(qkv|out|up|down)/kernel$')


def mesh(**axes: int) -> dict[str, int]:
  """Returns a mesh of one device, or of the given axes."""
  return dict(data=1, fsdp=1, tensor=1, expert=1) | axes


def sampler(**changes: Any) -> dict[str, Any]:
  """Returns how one side is sampled; see agentrl/rollout/sampling.py."""
  return dict(slots=192, length=640, max_new=64, width=16, chunks=(8, 32, 128),
              burst=8, temperature=1.0, history_thinking='keep') | changes


def add_tasks(c: ml_collections.ConfigDict) -> None:
  """Adds the tasks that GRPO and evaluation play, and their limits."""
  c.domains = DOMAINS
  # databases: folder of that name of the data stage; tasks start from these
  # databases even if the code of their domains has changed since.
  c.env = dict(prompt='brief', databases='')
  c.data = ''  # folder of the data stage
  c.limits = dict(max_steps=60, max_errors=4)


def add_samplers(c: ml_collections.ConfigDict) -> None:
  """Adds how GRPO and evaluation sample the agent and the user."""
  c.sampler = sampler()
  c.user_sampler = sampler(max_new=48, temperature=0.5)
