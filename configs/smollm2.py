"""The whole chain with SmolLM2-135M-Instruct as agent and user:

  bash scripts/install.sh smollm
  bash scripts/install_tau2.sh
  python scripts/run.py --config=configs/smollm2.py:domain=telecom \
    --workdir=runs/smollm2

`domain` telecom, airline, retail (tau2-bench: dialogues for tasks of the train
split, pass^k on its test split beside the floors), builtin, or the import path
of a package of your own (docs/domains.md). For one accelerator of
80 GB; stopped and started again it goes on, so GRPO runs for as long as there
is one. `:tiny` is a smoke test on a CPU. Prompts are shortened
as in configs/sft/smollm2_tau2.py.
"""

import ml_collections

from configs import common
from configs import quickstart
from configs import tau2_telecom
from configs.eigendata import builtin as data
from configs.eval import builtin as evaluation
from configs.grpo import smollm2_builtin as grpo_builtin
from configs.grpo import smollm2_tau2 as grpo_tau2
from configs.sft import smollm2_builtin as sft_builtin
from configs.sft import smollm2_tau2 as sft_tau2


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, domain='telecom', tiny=False, seed=0)
  size = 'tiny=true' if arg.tiny else 'tiny=false'
  c = ml_collections.ConfigDict()
  if arg.domain in sft_tau2.PROMPTS:
    size += f',domain={arg.domain}'
    sft, grpo = sft_tau2, grpo_tau2.get_config(size)
    c.synthesize = 'agentrl.eigendata.tau2.stage:synthesize'
    c.data = tau2_telecom.data(grpo.domains)
  else:
    sft, grpo = sft_builtin, grpo_builtin.get_config(size)
    c.synthesize = 'agentrl.eigendata.run:synthesize'
    c.data = data.get_config()
  c.user_sft = sft.get_config(f'side=user,{size}')
  c.agent_sft = sft.get_config(f'side=assistant,{size}')
  c.eval_sft = _evaluation(grpo)
  c.grpo = grpo
  c.eval_grpo = _evaluation(grpo)
  for name in ('data', 'user_sft', 'agent_sft', 'grpo'):
    c[name].seed = arg.seed
  c.expected_on = 'two CPU cores, `tiny`' if arg.tiny else 'one H200, a guess'
  c.expected_s = dict(data=30, user_sft=300, agent_sft=600, eval_sft=300,
                      grpo=3600, eval_grpo=300)
  if arg.domain not in ('builtin', *sft_tau2.PROMPTS):
    quickstart.play_in(arg.domain, c)
  if arg.tiny:
    _shrink(c)
  return c


def _evaluation(grpo: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Returns an evaluation with the models, prompts and limits of GRPO."""
  c = evaluation.get_config()
  for name in ('domains', 'env', 'limits', 'mesh', 'model', 'sampler',
               'user_sampler'):
    c[name] = grpo[name]
  return c


def _shrink(c: ml_collections.ConfigDict) -> None:
  """Stages of a minute or a few."""
  if 'num_train' in c.data:
    c.data.update(num_train=8, num_test=4, databases=2, workers=1)
  else:
    c.data.per_task = 1
  c.eval_sft.trials = c.eval_grpo.trials = 1
  c.expected_s = dict(data=10, user_sft=120, agent_sft=120, eval_sft=180,
                      grpo=120, eval_grpo=180)
