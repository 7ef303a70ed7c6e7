"""GRPO of Qwen3-235B-A22B on tau2-bench, for 1,024 TPU v5p; the user is played
by the 30B model. Otherwise as `qwen3_30b_tau2`.

  python scripts/plan.py --config=configs/grpo/qwen3_235b_tau2.py \
    --topology=v5p:8x8x16

Figures: docs/scaling.md. No script joins several hosts yet.
"""

import ml_collections

from configs import blocks
from configs import models
from configs.grpo import qwen3_30b_tau2


def get_config() -> ml_collections.ConfigDict:
  c = qwen3_30b_tau2.get_config()
  c.data = 'runs/qwen3_235b/data'
  c.init_from = 'runs/qwen3_235b/agent_sft'
  c.model = models.MODELS['qwen3_235b_a22b'] | models.LONG
  c.mesh = blocks.mesh(fsdp=128, tensor=4, expert=2)
  c.sampler_mesh = blocks.mesh(data=64, tensor=4, expert=4)
  c.tasks = 16
  c.group = 16
  c.wave = 24
  for sampler in (c.sampler, c.user_sampler):
    sampler.slots = 8
  c.micro_rows = 256
  c.optimizer.peak_lr = 1e-5
  return c
