"""Certified tasks and dialogues of the built-in domains, without an LLM:

  python scripts/synthesize.py --config=configs/eigendata/builtin.py \
    --workdir=runs/mine/data

Figures: LOG.md.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.domains = ('orders', 'router')
  c.env = dict(prompt='brief')
  c.databases = 64  # of each split; a task is about one of them
  c.num_train = 5000  # certified tasks with a dialogue
  c.num_test = 250  # certified tasks of other entities and combinations
  c.demands_train = (0.2, 0.5, 0.3)  # weights of tasks with 1, 2, 3 demands
  c.demands_test = (0.0, 0.6, 0.4)
  c.other_share = 0.5  # tasks with a refusal, a fallback or a transfer
  c.max_tries = 4  # samples for each one that is wanted
  c.drop_flagged = False  # what looks like personal data: only reported
  c.processes = 2
  c.llm = 'agentrl.llm.procedural:Procedural'
  c.llm_kw = dict(mistakes=dict(
      intent=0.1, user=0.1, agent=0.15, checker=0.15, judge=0.02))
  return c
