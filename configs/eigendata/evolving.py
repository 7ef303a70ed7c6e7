"""Does the closed loop help? A stand-in that errs in about every sample unless
its prompts tell it not to (`agentrl/llm/stand_in/mistakes.py`, a simulation),
with prompts that are revised, or without:

  python scripts/synthesize.py --config=configs/eigendata/evolving.py:seed=0 \
    --workdir=runs/evolving0
  python scripts/synthesize.py --workdir=runs/fixed0 \
    --config=configs/eigendata/evolving.py:seed=0,rounds=0

One revision in four is bad advice. Figures: LOG.md. With `student=<folder>` of
an agent trained on the built-in domains, each round also says which share of
its audit tasks this agent solves, and a revision that makes them easier is
rolled back.
"""

from typing import Any

import ml_collections

from configs import common
from configs.eigendata import builtin


def student(weights: str, *, length: int) -> dict[str, Any]:
  """Returns a role that is played by a trained agent, in this process."""
  return dict(llm='agentrl.rollout.local:Local', weights=weights, slots=8,
              length=length, max_tokens=64, temperature=1.0, dtype='float32')


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, seed=0, rounds=16, domain='orders', student='')
  c = builtin.get_config()
  c.seed = arg.seed
  c.domains = (arg.domain,)
  c.num_train, c.num_test = 300, 0
  c.max_tries = 40
  c.evolve.rounds = arg.rounds
  c.llm_kw = dict(mistakes=dict(
      intent=0.5, user=0.5, agent=0.6, checker=0.5, judge=0.02,
      engineer=0.25), obeys_prompts=True)
  if arg.student:
    c.llm_roles = dict(Student=student(arg.student, length=640))
    # One model serves them all.
    c.runner = 'agentrl.eigendata.scale.runners:threads'
  return c
