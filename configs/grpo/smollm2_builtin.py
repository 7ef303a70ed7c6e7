"""GRPO of SmolLM2-135M-Instruct on the built-in domains, from its SFT:

  python scripts/train_grpo.py --config=configs/grpo/smollm2_builtin.py \
    --workdir=runs/smol/grpo --config.init_from=runs/smol/agent_sft \
    --config.user=runs/smol/user_sft --config.data=runs/mine/data

For one accelerator of 80 GB, of which the caches of agent and user take 12 GB
each (23 kB a token). `:tiny` is a smoke test on a CPU, with brief prompts;
it starts from the published weights as well: --config.init_from=smollm2.
"""

import ml_collections

from configs import common
from configs.grpo import builtin


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, tiny=False)
  c = builtin.get_config()
  c.env.prompt = 'full'
  c.model.update(dtype='bfloat16', remat='full')
  c.user_model = dict(dtype='bfloat16')
  c.mesh.data = 1
  c.group = 16
  c.wave = 12
  for sampler in (c.sampler, c.user_sampler):
    sampler.update(slots=128, length=4096, width=128, chunks=(32, 128, 512))
  c.sampler.max_new, c.user_sampler.max_new = 256, 128
  c.optimizer.update(peak_lr=1e-5, norm_lr=1.0, warmup_steps=5,
                     schedule='constant', weight_decay=0.01, b2=0.999)
  if arg.tiny:
    shrink(c)
  return c


def shrink(c: ml_collections.ConfigDict) -> None:
  """Sets one step of four short dialogues."""
  c.env.prompt = 'brief'
  c.model.dtype = c.user_model.dtype = 'float32'
  c.update(total_steps=1, tasks=1, group=4, wave=1, micro_rows=1, save_every=1,
           filter='agentrl.rl.filters:keep_all')
  c.optimizer.warmup_steps = 1
  c.limits = dict(max_steps=4, max_errors=4)
  for sampler in (c.sampler, c.user_sampler):
    sampler.update(slots=8, length=384, max_new=64, width=8, chunks=(64,))
