"""SFT of Qwen3-30B-A3B on tau2-bench, as in arXiv:2601.22607, for 64 TPU v5p:

  python scripts/train_sft.py --workdir=runs/qwen3_30b/agent_sft \
    --config=configs/sft/qwen3_30b_tau2.py:side=assistant

`side=user` trains the user model. Its needs, computed without a TPU:

  python scripts/plan.py --config=configs/sft/qwen3_30b_tau2.py \
    --topology=v5p:4x4x4

Figures: docs/scaling.md. No script joins several hosts yet.
"""

import ml_collections

from configs import blocks
from configs import models
from configs.sft import builtin


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  c = builtin.get_config(arg)
  c.domains = ('tau2:airline', 'tau2:retail', 'tau2:telecom')
  c.env.prompt = 'full'
  c.data = 'runs/qwen3_30b/data'
  c.tokenizer = ''
  c.init_from = 'runs/qwen3_30b/published'
  c.model = models.MODELS['qwen3_30b_a3b'] | models.LONG
  c.mesh = blocks.mesh(fsdp=16, tensor=2, expert=2)
  c.batch_size = c.micro_rows = 32
  c.length = 32_768
  c.history_thinking = 'strip'  # as in GRPO; no effect without thinking
  c.total_steps = 10_480  # the paper's 10 epochs, in which a row was one turn
  c.optimizer.update(name='adamw', peak_lr=1e-5, warmup_steps=100)
  c.lora.targets = r'(qkv|out)/kernel$'  # experts have no adapters
  return c
