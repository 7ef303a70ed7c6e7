"""The whole chain on the built-in domains, for two CPU cores:

  python scripts/run.py --config=configs/quickstart.py --workdir=runs/mine

`:seed=1` gives another seed to everything; `:tiny` is a smoke test of the
machinery that learns nothing. Figures: LOG.md.
"""

import ml_collections

from configs import common
from configs.eigendata import builtin as data
from configs.eval import builtin as evaluation
from configs.grpo import builtin as grpo
from configs.sft import builtin as sft


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, seed=0, tiny=False)
  c = ml_collections.ConfigDict()
  c.data = data.get_config()
  c.tokenizer = ml_collections.ConfigDict(dict(
      data='', domains=c.data.domains, env=dict(c.data.env), vocab_size=1792))
  c.user_sft = sft.get_config('side=user')
  c.agent_sft = sft.get_config('side=assistant')
  c.eval_sft = evaluation.get_config()
  c.grpo = grpo.get_config()
  c.eval_grpo = evaluation.get_config()
  for name in ('data', 'user_sft', 'agent_sft', 'grpo'):
    c[name].seed = arg.seed  # the tasks are the seed's, so evaluations are too
  c.synthesize = 'agentrl.eigendata.run:synthesize'
  c.expected_s = dict(data=100, tokenizer=10, user_sft=90, agent_sft=240,
                      eval_sft=60, grpo=270, eval_grpo=60)
  if arg.tiny:
    _shrink(c)
  return c


def _shrink(c: ml_collections.ConfigDict) -> None:
  """Every stage in seconds."""
  c.data.num_train, c.data.num_test = 60, 6
  c.tokenizer.vocab_size = 512
  for stage in (c.user_sft, c.agent_sft):
    stage.model.update(num_layers=2, d_model=32, num_heads=2, num_kv_heads=1,
                       head_dim=16, d_ff=64, max_length=1024)
    stage.length, stage.batch_size, stage.micro_rows = 1024, 4, 4
    stage.total_steps = stage.optimizer.total_steps = 6
    stage.save_every = 2
  c.grpo.update(total_steps=2, tasks=2, group=2, wave=2, max_rows=8,
                micro_rows=4, save_every=1, filter='agentrl.rl.filters:keep_all')
  c.grpo.optimizer.total_steps = 2
  for stage in (c.eval_sft, c.grpo, c.eval_grpo):
    stage.limits = dict(max_steps=8, max_errors=2)
    for sampler in (stage.sampler, stage.user_sampler):
      sampler.update(slots=8, length=1024, max_new=24)
  for stage in (c.eval_sft, c.eval_grpo):
    stage.trials = 4
