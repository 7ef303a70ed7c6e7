"""SFT of Qwen3-235B-A22B on tau2-bench, for 128 TPU v5p: as the smaller model.

  python scripts/plan.py --config=configs/sft/qwen3_235b_tau2.py \
    --topology=v5p:4x4x8

Figures: docs/scaling.md. No script joins several hosts yet.
"""

import ml_collections

from configs import blocks
from configs import models
from configs.sft import qwen3_30b_tau2


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  c = qwen3_30b_tau2.get_config(arg)
  for field in ('data', 'tokenizer', 'init_from'):
    c[field] = c[field].replace('30b', '235b')
  c.model = models.MODELS['qwen3_235b_a22b'] | models.LONG
  c.mesh = blocks.mesh(fsdp=16, tensor=4, expert=2)
  return c
