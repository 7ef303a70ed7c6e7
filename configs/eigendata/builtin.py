"""Certified tasks and dialogues of the built-in domains, without an LLM:

  python scripts/synthesize.py --config=configs/eigendata/builtin.py \
    --workdir=runs/mine/data

Figures: LOG.md.
"""

import ml_collections
from ml_collections import config_dict

from configs import blocks


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.domains = blocks.DOMAINS
  c.env = dict(prompt='brief')
  c.databases = 64  # of each split; a task is about one of them
  c.num_train = 5000  # certified tasks with a dialogue
  c.num_test = 250  # certified tasks of other entities and combinations
  c.demands_train = (0.2, 0.5, 0.3)  # weights of tasks with 1, 2, 3 demands
  c.demands_test = (0.0, 0.6, 0.4)
  c.other_share = 0.5  # tasks with a refusal, a fallback or a transfer
  c.max_tries = 4  # samples for each one that is wanted
  c.if_short = 'error'  # if tries are used up; `keep` ends with fewer tasks
  c.drop_flagged = False  # apparent personal data is only reported
  c.feedback = ''  # folder of an evaluation; its failures are drawn more
  c.plan_pairs = 64  # synthesis and evaluation plans of `train`, at most
  c.validate = True  # false keeps all that can be played: for ablations
  # Rounds in which each plan's prompts are revised; 0 for none.
  c.evolve = dict(rounds=0, pilot=10, audit=20, patience=3, target=0.95)
  # A plan stops if its acceptance in a window falls below this share of that in
  # its first, or the first kept nothing.
  c.monitor = dict(window=40, floor=0.5)
  c.shard_size = 100  # tasks; a stage that goes on makes whole shards
  # Makes shards by `processes`, `threads` (for a remote LLM) or `beam`.
  c.runner = 'agentrl.eigendata.scale.runners:processes'
  c.runner_kw = {}  # beam: `options`
  c.workers = 2
  c.llm = 'agentrl.llm.stand_in.procedural:Procedural'
  c.llm_kw = dict(mistakes=dict(
      intent=0.1, user=0.1, agent=0.15, checker=0.15, judge=0.02,
      engineer=0.0), obeys_prompts=False)
  # Worker -> fields of llm_kw that differ for it; with an import path `llm`,
  # all of them. `Student` plays the tasks of audits (see `evolve`), if given.
  c.llm_roles = {}
  # See agentrl/llm/build.py. Without a number there is no cap.
  c.llm_account = dict(
      prices=(), cache='', dollars=config_dict.placeholder(float),
      tokens=config_dict.placeholder(int),
      evolve_share=0.5)  # of both: then evolution ends
  return c
