"""SFT of SmolLM2-135M-Instruct on dialogues of tau2-bench's train split:

  python scripts/train_sft.py --workdir=runs/smol/user_sft \
    --config=configs/sft/smollm2_tau2.py:domain=telecom,side=user \
    --config.data=runs/tau2/data

`domain` telecom, airline or retail; `side` user or assistant; `:tiny` is a
smoke test on a CPU. For one accelerator of 80 GB. The model has 8,192 tokens
of context, so the agent's prompt is shortened to fit: telecom and airline
show their tools but not their policy (telecom's prompt with it has 7,918
tokens; its dialogues without have at most 3,773), retail shows neither, for
its longest dialogues have 8.7k tokens besides. The user's prompt is whole in
telecom and airline. Dialogues that are too long all the same are left out, and
their number is printed.
"""

import ml_collections

from configs import common
from configs.sft import smollm2_builtin

PROMPTS = {'telecom': 'tools', 'airline': 'tools', 'retail': 'brief'}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, domain='telecom', side='assistant', tiny=False)
  c = smollm2_builtin.get_config(f'side={arg.side}')
  domain = common.one_of('domain', arg.domain, tuple(PROMPTS))
  c.domains = (f'tau2:{domain}',)
  c.env = dict(prompt=PROMPTS[domain])
  c.total_steps = 300
  if arg.tiny:
    smollm2_builtin.shrink(c)
    # These dialogues are longer.
    c.update(length=2048, total_steps=4, save_every=2)
  return c
