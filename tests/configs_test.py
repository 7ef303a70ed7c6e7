"""Every config is one that its stage takes: no field unread, none missing."""

import importlib
import pathlib
import sys

import pytest

from agentrl import resolve
from agentrl.models import config as model_config
from agentrl.train import optimizer
from agentrl.train import tuning

ROOT = pathlib.Path(__file__).parent.parent
STAGES = {'eigendata': 'agentrl.eigendata.run:synthesize',
          'tokenizer': 'agentrl.data.vocabulary:train',
          'sft': 'agentrl.sft.train:train', 'grpo': 'agentrl.rl.train:train',
          'eval': 'agentrl.eval.run:evaluate'}
# What of a model of their own vocabulary the data decide.
SIZES = dict(vocab_size=512, num_layers=1, d_model=8, num_heads=1,
             num_kv_heads=1, head_dim=8, d_ff=8, max_length=32)
ONE = [('eigendata/builtin.py', None), ('eigendata/evolving.py', 'rounds=0'),
       ('eigendata/evolving.py', 'student=a'),
       ('eigendata/openai.py', 'model=m,judge=j,student=s'),
       ('eigendata/openai.py', 'model=m,domain=tau2:airline'),
       ('eigendata/openai.py', 'model=m,weights=runs/agent'),
       ('eigendata/smollm2.py', None), ('tokenizer/builtin.py', None),
       ('sft/builtin.py', 'side=user'), ('sft/builtin.py', None),
       ('grpo/builtin.py', None), ('eval/builtin.py', None),
       ('eval/tau2.py', None),
       *((f'{stage}/{name}.py', arg) for stage in ('sft', 'grpo')
         for name, args in (('smollm2_builtin', (None, 'tiny')),
                            ('smollm2_tau2', (None, 'domain=retail,tiny')),
                            ('qwen3_30b_tau2', (None,)),
                            ('qwen3_235b_tau2', (None,))) for arg in args)]
CHAINS = [('ablation.py', 'variant=few_plans'), ('quickstart.py', None),
          ('quickstart.py', 'domain=lamps,tiny'),
          ('tau2_telecom.py', 'tiny'), ('smollm2.py', None),
          ('smollm2.py', 'domain=builtin,tiny'),
          ('smollm2.py', 'domain=airline,tiny'), ('smollm2.py', 'domain=lamps')]


@pytest.fixture(scope='module')
def scripts():
  """scripts/common.py and scripts/run.py."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, 'path', [str(ROOT), str(ROOT / 'scripts'), *sys.path])
    yield importlib.import_module('common'), importlib.import_module('run')


def load(path, arg):
  name = 'configs.' + path.removesuffix('.py').replace('/', '.')
  get = importlib.import_module(name).get_config
  return get(arg) if arg else get()


def assert_taken(config, scripts, stage):
  """All that can be said of a stage's config without its data."""
  scripts[0].check_fields(resolve.name(stage), config)
  if 'optimizer' in config:
    optimizer.make(**config.optimizer)
    tuning.make(None, **config.lora)
    assert config.optimizer.total_steps == config.total_steps
  for name in ('model', 'user_model'):
    model_config.make({**SIZES, **config.get(name, {})})
  for name in ('sampler', 'user_sampler'):
    assert name not in config or {*config[name]} >= {'slots', 'length'}


def test_all_files_are_among_these():
  files = {str(p.relative_to(ROOT / 'configs'))
           for p in (ROOT / 'configs').rglob('*.py')}
  assert files == {path for path, _ in ONE + CHAINS} | {
      'common.py', 'models.py', 'eigendata/published.py'}


@pytest.mark.parametrize('path, arg', ONE)
def test_a_stage_takes_its_config(path, arg, scripts):
  assert_taken(load(path, arg), scripts, STAGES[path.split('/')[0]])


@pytest.mark.parametrize('path', ['quickstart.py', 'smollm2.py'])
def test_a_chain_plays_in_a_domain_of_your_own(path):
  config = load(path, 'domain=my.lamps')
  assert [config[name].domains for name in config.expected_s] == (
      [('my.lamps',)] * len(config.expected_s))


@pytest.mark.parametrize('path, arg', CHAINS)
def test_stages_of_a_chain_take_theirs(path, arg, scripts):
  config = load(path, arg)
  stages = [name for name in scripts[1].STAGES if name in config]
  assert {*config.expected_s} == {*stages}
  assert {*config} - {*stages} <= {'synthesize', 'expected_s', 'expected_on'}
  for name in stages:
    assert_taken(config[name], scripts,
                 scripts[1].STAGES[name][0] or config.synthesize)
