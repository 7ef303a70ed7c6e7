"""pass^k on held-out tasks of the built-in domains:

  python scripts/evaluate.py --config=configs/eval/builtin.py \
    --workdir=runs/mine/eval_grpo --config.agent=runs/mine/grpo \
    --config.user=runs/mine/user_sft --config.data=runs/mine/data

`:script=gold` (or noop, refuse, transfer) plays a script in place of models.
Figures: LOG.md.
"""

import ml_collections

from configs import blocks
from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, script='')
  c = ml_collections.ConfigDict()
  c.seed = 0
  blocks.add_tasks(c)
  c.split = 'test'
  c.trials = 4
  if arg.script:
    scripts = ('noop', 'refuse', 'transfer', 'gold')
    name = common.one_of('script', arg.script, scripts)
    c.agent = f'agentrl.eval.floors:{name}'
    return c
  c.agent = ''  # folder of SFT or GRPO, or published weights
  c.user = ''  # SFT of the user
  c.model = {}  # fields that shall differ from the training
  c.mesh = blocks.mesh(data=2)
  blocks.add_samplers(c)
  return c
