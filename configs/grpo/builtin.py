"""GRPO on the built-in domains, from SFT:

  python scripts/train_grpo.py --config=configs/grpo/builtin.py \
    --workdir=runs/mine/grpo --config.init_from=runs/mine/agent_sft \
    --config.user=runs/mine/user_sft --config.data=runs/mine/data

Figures: LOG.md.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.domains = ('orders', 'router')
  c.env = dict(prompt='brief')
  c.data = 'runs/quickstart/data'
  c.init_from = 'runs/quickstart/agent_sft'
  c.user = 'runs/quickstart/user_sft'
  c.model = {}  # fields that shall be others than they were trained with
  c.mesh = dict(data=2, fsdp=1, tensor=1)
  c.total_steps = 100
  c.tasks = 8  # groups of a batch, at least
  c.group = 8  # dialogues of a task
  c.wave = 16  # tasks played at once; refilled until the batch is full
  c.max_waves = 10
  c.limits = dict(max_steps=60, max_errors=4)
  c.sampler = dict(slots=128, length=640, max_new=64, temperature=1.0)
  c.user_sampler = dict(slots=128, length=640, max_new=48, temperature=0.5)
  c.advantage = 'agentrl.rl.advantages:group_normalized'
  c.filter = 'agentrl.rl.filters:mixed'
  c.loss = 'agentrl.rl.losses:clipped_surrogate'
  c.loss_kw = dict(clip_low=0.2, clip_high=0.28)
  c.micro_rows = 4  # rows of a forward and backward pass
  c.optimizer = dict(
      name='adamw', peak_lr=1e-3, norm_lr=10.0, warmup_steps=10,
      total_steps=c.total_steps, schedule='cosine', clip_norm=1.0,
      weight_decay=0.0, b1=0.9, b2=0.99)
  c.save_every = 20
  return c
