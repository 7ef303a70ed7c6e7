"""The whole chain on the built-in domains, for two CPU cores:

  python scripts/run.py --config=configs/quickstart.py --workdir=runs/mine

`:seed=1` gives another seed to everything; `:domain=lamps` runs it on a domain
of your own (its import path); `:tiny` is a smoke test. Figures: LOG.md.
"""

import ml_collections

from configs import common
from configs.eigendata import builtin as data
from configs.eval import builtin as evaluation
from configs.grpo import builtin as grpo
from configs.sft import builtin as sft
from configs.tokenizer import builtin as tokenizer


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, seed=0, domain='', tiny=False)
  c = ml_collections.ConfigDict()
  c.synthesize = 'agentrl.eigendata.run:synthesize'
  c.data = data.get_config()
  c.tokenizer = tokenizer.get_config()
  c.user_sft = sft.get_config('side=user')
  c.agent_sft = sft.get_config('side=assistant')
  c.eval_sft = evaluation.get_config()
  c.grpo = grpo.get_config()
  c.eval_grpo = evaluation.get_config()
  for name in ('data', 'user_sft', 'agent_sft', 'grpo'):
    c[name].seed = arg.seed
  c.expected_on = 'two CPU cores'
  c.expected_s = dict(data=150, tokenizer=5, user_sft=190, agent_sft=190,
                      eval_sft=70, grpo=360, eval_grpo=30)
  if arg.domain:
    play_in(arg.domain, c)
  if arg.tiny:
    _shrink(c)
  return c


def play_in(domain: str, c: ml_collections.ConfigDict) -> None:
  """Sets one domain, given by its import path, for every stage of a chain."""
  for stage in c.values():
    if isinstance(stage, ml_collections.ConfigDict) and 'domains' in stage:
      stage.domains = (domain,)
  c.data.demands_test = (0.4, 0.4, 0.2)  # it may have one family only


def _shrink(c: ml_collections.ConfigDict) -> None:
  """Sets stages of seconds; enough for a domain of a few words."""
  c.data.update(num_train=8, num_test=4, databases=2, max_tries=20, workers=1)
  c.tokenizer.vocab_size = 512
  for stage in (c.user_sft, c.agent_sft):
    stage.model.update(num_layers=2, d_model=32, num_heads=2, num_kv_heads=1,
                       head_dim=16, d_ff=64, max_length=256)
    stage.update(length=256, batch_size=2, micro_rows=2, save_every=10)
    stage.total_steps = 200
  c.agent_sft.total_steps = 100
  c.grpo.update(total_steps=5, tasks=2, group=4, wave=2,
                micro_rows=2, save_every=1,
                filter='agentrl.rl.filters:keep_all')
  c.grpo.optimizer.warmup_steps = 1
  for stage in (c.eval_sft, c.grpo, c.eval_grpo):
    stage.limits = dict(max_steps=12, max_errors=2)
    for sampler in (stage.sampler, stage.user_sampler):
      sampler.update(slots=16, length=256, max_new=24)
