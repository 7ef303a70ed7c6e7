"""GRPO of Qwen3-30B-A3B on tau2-bench, as in arXiv:2601.22607, for 64 TPU v5p:

  python scripts/train_grpo.py --config=configs/grpo/qwen3_30b_tau2.py \
    --workdir=runs/qwen3_30b/grpo

Its needs, computed without a TPU:

  python scripts/plan.py --config=configs/grpo/qwen3_30b_tau2.py \
    --topology=v5p:4x4x4

Figures: docs/scaling.md. No script joins several hosts yet.
"""

import ml_collections

from configs import blocks
from configs import models
from configs.grpo import builtin


def get_config() -> ml_collections.ConfigDict:
  c = builtin.get_config()
  c.domains = ('tau2:airline', 'tau2:retail', 'tau2:telecom')
  c.env = dict(prompt='full', databases='')
  c.data = 'runs/qwen3_30b/data'
  c.init_from = 'runs/qwen3_30b/agent_sft'
  c.user = 'runs/qwen3_30b/user_sft'
  c.model = models.MODELS['qwen3_30b_a3b'] | models.LONG
  c.user_model = models.MODELS['qwen3_30b_a3b'] | models.LONG
  c.mesh = blocks.mesh(fsdp=16, tensor=2, expert=2)
  c.sampler_mesh = blocks.mesh(data=16, tensor=4)
  c.total_steps = 200
  c.group = 64
  c.wave = 12  # more than `tasks`, because groups of one reward are dropped
  c.limits = dict(max_steps=200, max_errors=10)
  # As in tau2-bench no earlier thinking is seen: each turn is a sequence.
  for sampler in (c.sampler, c.user_sampler):
    sampler.update(slots=8, length=32_768, max_new=8192, width=8,
                   chunks=(32, 128, 512), temperature=1.0,
                   history_thinking='strip')
  c.loss_kw = dict(clip_low=0.4, clip_high=0.4)
  c.micro_rows = 32
  c.optimizer.update(
      peak_lr=5e-6, norm_lr=1.0, warmup_steps=0, schedule='constant',
      weight_decay=0.01, b2=0.999)
  c.lora.targets = r'(qkv|out)/kernel$'  # experts have no adapters
  return c
