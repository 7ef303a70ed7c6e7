"""pass^k of models or scripts on a split of tau2-bench:

  python scripts/evaluate.py --workdir=runs/noop \
    --config=configs/eval/tau2.py:domain=airline,split=base,agent=noop

`domain` airline, retail or telecom; `split` base, train, test or (telecom)
full; `agent` noop, refuse, transfer or gold needs no model, and `model` takes
--config.agent=<folder> --config.user=<folder>. The benchmark's papers of 2025
are grading v0.2.1, its present leaderboard v1.0.1; the data that are installed
must be of the same version (docs/tau2.md). Figures: LOG.md.
"""

import ml_collections

from configs import blocks
from configs import common

SCRIPTS = ('noop', 'refuse', 'transfer', 'gold')


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, domain='telecom', split='test', agent='noop',
                         grading='v0.2.1')
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.domains = (f'tau2:{arg.domain}',)
  # agentrl.llm.openai.assertions:AssertionJudge decides the criteria of v1.0.1
  # that are in words.
  c.env = dict(prompt='full', grading=arg.grading, judge='',
               judge_kw=dict(model=''), databases='')
  c.data = ''  # the benchmark's own tasks
  c.split = arg.split
  c.limits = dict(max_steps=200, max_errors=10)
  agent = common.one_of('agent', arg.agent, (*SCRIPTS, 'model'))
  if agent in SCRIPTS:
    c.trials = 1  # scripts leave nothing to chance
    c.agent = f'agentrl.eval.floors:{agent}'
    return c
  c.trials = 4
  c.env.prompt = 'brief'
  c.agent = c.user = ''  # folders of GRPO or SFT, and of the user's SFT
  c.model = {}
  c.mesh = blocks.mesh(data=2)
  c.sampler = blocks.sampler(slots=64, length=1024, max_new=96)
  c.user_sampler = blocks.sampler(slots=64, length=1024, max_new=96,
                                  temperature=0.5)
  return c
