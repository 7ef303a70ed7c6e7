"""The whole chain on tau2-bench telecom, offline:

  pip install -e .[tau2]
  python scripts/run.py --config=configs/tau2_telecom.py:tiny \
    --workdir=runs/tau2

Dialogues for tasks of the train split, rollouts in the benchmark's environment,
reward by its evaluator, pass^k on its test split. `:tiny`, models from scratch
on two CPU cores, is the one size there is; figures: LOG.md.
"""

import ml_collections

from configs import common
from configs import quickstart

DOMAINS = ('tau2:telecom',)


def data(domains: tuple[str, ...]) -> ml_collections.ConfigDict:
  """Dialogues for tasks of the train split; the test split judges."""
  return ml_collections.ConfigDict(dict(
      seed=0, domains=domains, env=dict(prompt='brief'), per_task=12,
      splits_train=('train',), num_new=0, judged_on='test',
      drop_flagged=False))


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, tiny=True, seed=0)
  if not arg.tiny:
    raise ValueError('configs/tau2_telecom.py has the size `tiny` only.')
  c = quickstart.get_config(f'seed={arg.seed}')
  c.synthesize = 'agentrl.eigendata.tau2.stage:synthesize'
  c.data = data(DOMAINS)
  c.data.seed = arg.seed
  c.expected_s = dict(data=10, tokenizer=5, user_sft=180, agent_sft=180,
                      eval_sft=60, grpo=70, eval_grpo=15)
  for name in ('tokenizer', 'user_sft', 'agent_sft', 'eval_sft', 'grpo',
               'eval_grpo'):
    c[name].domains = DOMAINS
  for stage in (c.user_sft, c.agent_sft):
    stage.model.max_length = stage.length = 1024
    stage.total_steps = 1500
  # So few steps must not end for want of a mixed group.
  c.grpo.update(total_steps=10, tasks=6, group=8, wave=6, micro_rows=2,
                filter='agentrl.rl.filters:keep_all')
  c.grpo.optimizer.warmup_steps = 2
  for stage in (c.eval_sft, c.grpo, c.eval_grpo):
    stage.limits = dict(max_steps=100, max_errors=10)
    for sampler in (stage.sampler, stage.user_sampler):
      sampler.update(slots=64, length=1024, max_new=96)
  return c
