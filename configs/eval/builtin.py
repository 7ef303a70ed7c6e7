"""pass^k on held-out tasks of the built-in domains:

  python scripts/evaluate.py --config=configs/eval/builtin.py \
    --workdir=runs/mine/eval_grpo --config.agent=runs/mine/grpo \
    --config.user=runs/mine/user_sft --config.data=runs/mine/data

`:script=gold` (or noop, refuse, transfer) plays a script in place of models.
Figures: LOG.md.
"""

import ml_collections

from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, script='')
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.domains = ('orders', 'router')
  # databases: that folder of the data stage, from which tasks start if the code
  # of their domains has changed since.
  c.env = dict(prompt='brief', databases='')
  c.data = ''  # folder of the data stage
  c.split = 'test'
  c.trials = 4
  c.limits = dict(max_steps=60, max_errors=4)
  if arg.script:
    scripts = ('noop', 'refuse', 'transfer', 'gold')
    name = common.one_of('script', arg.script, scripts)
    c.agent = f'agentrl.eval.floors:{name}'
    return c
  c.agent = ''  # folder of SFT or GRPO, or published weights
  c.user = ''  # SFT of the user
  c.model = {}  # fields that shall be others than they were trained with
  c.mesh = dict(data=2, fsdp=1, tensor=1, expert=1)
  c.sampler = dict(slots=192, length=640, max_new=64, temperature=1.0,
                   history_thinking='keep')
  c.user_sampler = dict(slots=192, length=640, max_new=48, temperature=0.5,
                        history_thinking='keep')
  return c
