"""GRPO of SmolLM2-135M-Instruct in tau2-bench, from its SFT:

  python scripts/train_grpo.py --workdir=runs/smol/grpo \
    --config=configs/grpo/smollm2_tau2.py:domain=telecom \
    --config.init_from=runs/smol/agent_sft --config.user=runs/smol/user_sft \
    --config.data=runs/tau2/data

`domain` telecom, airline or retail; `:tiny` is a smoke test on a CPU. For one
accelerator of 80 GB, of which the caches of agent and user take 12 GB each.
Prompts are shortened as in configs/sft/smollm2_tau2.py.
"""

import ml_collections

from configs import common
from configs.grpo import smollm2_builtin
from configs.sft import smollm2_tau2 as sft


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, domain='telecom', tiny=False)
  c = smollm2_builtin.get_config()
  domain = common.one_of('domain', arg.domain, tuple(sft.PROMPTS))
  c.domains = (f'tau2:{domain}',)
  c.env = dict(prompt=sft.PROMPTS[domain], databases='')
  c.limits = dict(max_steps=200, max_errors=10)
  c.micro_rows = 2
  for sampler in (c.sampler, c.user_sampler):
    sampler.update(slots=64, width=64, length=8192)
  if arg.tiny:
    smollm2_builtin.shrink(c)
  return c
