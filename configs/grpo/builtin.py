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
  # databases: that folder of the data stage, from which tasks start if the code
  # of their domains has changed since.
  c.env = dict(prompt='brief', databases='')
  c.data = ''  # folder of the data stage
  c.init_from = ''  # the agent: its SFT, or published weights
  c.user = ''  # SFT of the user
  # Fields that may be others than they were trained with; remat full, attention
  # or dots makes activations again, to save memory.
  c.model = dict(param_dtype='float32', remat='none', attention='xla')
  c.user_model = {}
  c.mesh = dict(data=2, fsdp=1, tensor=1, expert=1)
  # An engine on each of `data`.
  c.sampler_mesh = dict(data=1, fsdp=1, tensor=1, expert=1)
  c.total_steps = 100
  c.tasks = 8  # groups of a batch, at least
  c.group = 8  # dialogues of a task
  c.wave = 16  # tasks played at once; refilled until the batch is full
  c.max_waves = 10
  c.limits = dict(max_steps=60, max_errors=4)
  c.sampler = dict(slots=192, length=640, max_new=64, temperature=1.0,
                   history_thinking='keep')
  c.user_sampler = dict(slots=192, length=640, max_new=48, temperature=0.5,
                        history_thinking='keep')
  c.advantage = 'agentrl.rl.advantages:group_normalized'
  c.filter = 'agentrl.rl.filters:mixed'
  c.loss = 'agentrl.rl.losses:clipped_surrogate'
  c.loss_kw = dict(clip_low=0.2, clip_high=0.28)
  c.micro_rows = 4  # rows of a forward and backward pass
  c.optimizer = dict(
      name='adamw', peak_lr=1e-3, norm_lr=10.0, warmup_steps=10,
      total_steps=c.total_steps, schedule='cosine', clip_norm=1.0,
      master=False, weight_decay=0.0, b1=0.9, b2=0.99)
  # rank 0 trains every weight; above it, low-rank adapters of init_from's.
  c.lora = dict(rank=0, alpha=16.0, targets=r'(qkv|out|up|down)/kernel$')
  c.save_every = 20
  return c
