"""SmolLM2-135M writes both sides of the dialogues for tasks of `orders`, in
this process; intents, checkers and the judge stay with the stand-in:

  bash scripts/install.sh smollm
  python scripts/synthesize.py --config=configs/eigendata/smollm2.py \
    --workdir=runs/smollm2_writes

Far too small a model for it: next to nothing is certified, and the page says
why. Figures: LOG.md.
"""

import ml_collections

from configs.eigendata import builtin


def get_config() -> ml_collections.ConfigDict:
  c = builtin.get_config()
  c.domains = ('orders',)
  c.num_train, c.num_test, c.max_tries, c.if_short = 50, 0, 1, 'keep'
  c.demands_train = (1.0,)
  c.shard_size = 1
  c.runner, c.workers = 'agentrl.eigendata.scale.runners:threads', 8
  c.llm_roles = dict(DialogSynthesis=dict(
      llm='agentrl.rollout.local:Local', weights='smollm2', slots=24,
      length=1024, max_tokens=64, temperature=0.7, dtype='float32',
      brief=True))
  c.llm_account.tokens = 5_000_000
  return c
