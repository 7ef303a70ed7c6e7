"""Ablates the data engine: agents from scratch, trained on
equal numbers of dialogues and evaluated on the same held-out tasks:

  for variant in full no_validation no_evolution few_plans; do
    python scripts/run.py --workdir=runs/ablation/$variant \
      --config=configs/ablation.py:variant=$variant,seed=0
  done

The stand-in errs in half of its texts unless its prompts tell it not to,
see configs/eigendata/evolving.py. User and agent are fine-tuned; no RL.
"""

import ml_collections

from configs import common
from configs import quickstart
from configs.eigendata import evolving

VARIANTS = {'full': {}, 'no_validation': dict(validate=False),
            'no_evolution': {'evolve.rounds': 0},
            'few_plans': dict(plan_pairs=4)}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, variant='full', seed=0)
  common.one_of('variant', arg.variant, VARIANTS)
  c = quickstart.get_config(f'seed={arg.seed}')
  del c.grpo, c.eval_grpo
  c.data.update(num_train=2000, max_tries=40)
  c.data.llm_kw = evolving.get_config().llm_kw
  c.data.evolve.rounds = 16
  c.data.update_from_flattened_dict(VARIANTS[arg.variant])
  for stage in (c.user_sft, c.agent_sft):
    stage.total_steps = 2000
  c.expected_s = dict(data=200, tokenizer=5, user_sft=100, agent_sft=100,
                      eval_sft=60)
  return c
