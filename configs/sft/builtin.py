"""SFT on the built-in domains, from scratch:

  python scripts/train_sft.py --config=configs/sft/builtin.py:side=assistant \
    --workdir=runs/mine/agent_sft --config.data=runs/mine/data \
    --config.tokenizer=runs/mine/tokenizer

`side=user` trains the user model on the same dialogues, seen from the other
side. Train it first and let the agent start from it, as the whole chain does:
--config.init_from=runs/mine/user_sft. Figures: LOG.md.
"""

import ml_collections

from configs import blocks
from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, side='assistant')
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.side = common.one_of('side', arg.side, ('assistant', 'user'))
  c.domains = blocks.DOMAINS
  c.env = dict(prompt='brief')
  c.data = ''  # folder of the data stage
  c.tokenizer = ''  # folder of the tokenizer stage; '': that of init_from
  c.init_from = ''  # a stage, or published weights; '' starts from scratch
  c.model = dict(
      num_layers=3, d_model=64, num_heads=2, num_kv_heads=1, head_dim=32,
      d_ff=192, max_length=640, rope_theta=1e6, norm_eps=1e-6,
      tie_embeddings=True, dtype='float32', param_dtype='float32',
      scan_layers=False, remat='none', attention='xla', smear=2)
  c.mesh = blocks.mesh(data=2)
  c.batch_size = 2  # packed rows
  c.length = 640  # tokens of a row
  c.micro_rows = 2  # rows of a forward and backward pass
  c.history_thinking = 'keep'  # or template, strip: see formats.Keeps
  c.total_steps = 3400 if c.side == 'user' else 3200
  c.optimizer = dict(
      name='muon', peak_lr=0.015, norm_lr=1.0, warmup_steps=20,
      schedule='cosine', clip_norm=1.0,
      master=False, weight_decay=0.05, b1=0.9, b2=0.95)
  c.lora = blocks.lora()
  c.save_every = 500
  return c
