"""GRPO on the built-in domains, from SFT:

  python scripts/train_grpo.py --config=configs/grpo/builtin.py \
    --workdir=runs/mine/grpo --config.init_from=runs/mine/agent_sft \
    --config.user=runs/mine/user_sft --config.data=runs/mine/data

Figures: LOG.md.
"""

import ml_collections

from configs import blocks


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0
  blocks.add_tasks(c)
  c.init_from = ''  # the agent: its SFT, or published weights
  c.user = ''  # SFT of the user
  # Fields that may differ from the training before. remat full, attention or
  # dots recomputes activations, to save memory.
  c.model = dict(param_dtype='float32', remat='none', attention='xla')
  c.user_model = {}
  c.mesh = blocks.mesh(data=2)
  c.sampler_mesh = blocks.mesh()  # one engine for each index of `data`
  c.total_steps = 100
  c.tasks = 8  # groups of a batch, at least
  c.group = 8  # dialogues of a task
  c.wave = 16  # tasks played at once; refilled until the batch is full
  c.max_waves = 10
  blocks.add_samplers(c)
  c.advantage = 'agentrl.rl.advantages:group_normalized'
  c.filter = 'agentrl.rl.filters:mixed'
  c.loss = 'agentrl.rl.losses:clipped_surrogate'
  c.loss_kw = dict(clip_low=0.2, clip_high=0.28)
  c.micro_rows = 4  # rows of a forward and backward pass
  c.optimizer = dict(
      name='adamw', peak_lr=1e-3, norm_lr=10.0, warmup_steps=10,
      schedule='cosine', clip_norm=1.0,
      master=False, weight_decay=0.0, b1=0.9, b2=0.99)
  c.lora = blocks.lora()
  c.save_every = 20
  return c
