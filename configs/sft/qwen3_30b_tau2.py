"""SFT of Qwen3-30B-A3B on tau2-bench, as in arXiv:2601.22607, for 64 TPU v5p:

  python scripts/train_sft.py --workdir=runs/qwen3_30b/agent_sft \
    --config=configs/sft/qwen3_30b_tau2.py:side=assistant

`side=user` trains the user model. Without a TPU, what it needs of one:

  python scripts/plan.py --config=configs/sft/qwen3_30b_tau2.py \
    --topology=v5p:4x4x4

Figures: BUILD.md, "Planned for the pod".
"""

import ml_collections

from configs import common
from configs import models


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, side='assistant')
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.side = common.one_of('side', arg.side, ('assistant', 'user'))
  c.domains = ('tau2:airline', 'tau2:retail', 'tau2:telecom')
  c.env = dict(prompt='full')
  c.data = 'runs/qwen3_30b/data'
  c.tokenizer = ''  # that of init_from
  c.init_from = 'runs/qwen3_30b/published'
  c.model = models.MODELS['qwen3_30b_a3b'] | models.LONG
  c.mesh = dict(data=1, fsdp=4, tensor=2, expert=8)
  c.batch_size = 32
  c.length = 32_768
  c.micro_rows = 32
  c.total_steps = 10_480  # 10 epochs of 33,531 turns
  c.optimizer = dict(
      name='adamw', peak_lr=1e-5, norm_lr=1.0, warmup_steps=100,
      total_steps=c.total_steps, schedule='cosine', clip_norm=1.0,
      master=False, weight_decay=0.05, b1=0.9, b2=0.95)
  # rank 0 trains every weight; above it, low-rank adapters of init_from's.
  c.lora = dict(rank=0, alpha=16.0, targets=r'(qkv|out)/kernel$')
  c.save_every = 500
  return c
