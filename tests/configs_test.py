"""Every config is one that its stage takes: no field unread, none missing."""

import ast
import dataclasses
import importlib
import inspect
import pathlib
import sys
import typing

import pytest

from agentrl import resolve
from agentrl import sharding
from agentrl.eigendata import config as data_config
from agentrl.envs import dialogue
from agentrl.models import config as model_config
from agentrl.rollout import engine
from agentrl.rollout import policy
from agentrl.rollout import sampling
from agentrl.train import optimizer
from agentrl.train import tuning

ROOT = pathlib.Path(__file__).parent.parent
STAGES = {'published': 'agentrl.eigendata.published.stage:synthesize',
          'tau2': 'agentrl.eigendata.tau2.stage:synthesize',
          'eigendata': 'agentrl.eigendata.run:synthesize',
          'tokenizer': 'agentrl.data.vocabulary:train',
          'sft': 'agentrl.sft.train:train', 'grpo': 'agentrl.rl.train:train',
          'eval': 'agentrl.eval.run:evaluate'}
# Sizes of a model whose vocabulary depends on the data.
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
       ('eval/builtin.py', 'script=gold'), ('eval/tau2.py', None),
       ('eval/tau2.py', 'agent=model'),
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
  """Checks everything about a stage's config that needs no data."""
  scripts[0].check_fields(resolve.name(stage), config, 'config')
  if 'optimizer' in config:
    optimizer.make(config.total_steps, **config.optimizer)
    tuning.make(None, **config.lora)
  for name in ('model', 'user_model'):
    model_config.make({**SIZES, **config.get(name, {})})


def test_all_files_are_among_these():
  files = {str(p.relative_to(ROOT / 'configs'))
           for p in (ROOT / 'configs').rglob('*.py')}
  assert files == {path for path, _ in ONE + CHAINS} | {
      'blocks.py', 'common.py', 'models.py', 'eigendata/published.py'}


@pytest.mark.parametrize('path, arg', ONE)
def test_a_stage_takes_its_config(path, arg, scripts):
  assert_taken(load(path, arg), scripts, STAGES[path.split('/')[0]])


def test_the_import_of_a_corpus_takes_its_config(scripts):
  assert_taken(load('eigendata/published.py', None), scripts,
               STAGES['published'])


# Stage -> all files that read its config, under the name `config`.
READERS = {
    'sft': ('sft/train.py',), 'grpo': ('rl/train.py',),
    'eval': ('eval/run.py',), 'tokenizer': ('data/vocabulary.py',),
    'eigendata': ('eigendata/run.py', 'eigendata/context.py',
                  'eigendata/scale/shards.py'),
    'tau2': ('eigendata/tau2/stage.py',),
    'published': ('eigendata/published/stage.py', 'eigendata/tau2/stage.py')}


def fields_read(text, holder='config'):
  """Names of the fields that a source text reads of what it calls `holder`."""
  for node in ast.walk(ast.parse(text)):
    match node:
      case ast.Attribute(ast.Name(own), name, ast.Load()) if own == holder:
        yield name


@pytest.mark.parametrize('stage', READERS)
def test_each_declared_field_is_read(stage):
  module = importlib.import_module(STAGES[stage].split(':')[0])
  config = typing.get_type_hints(module.read_config)['return']
  declared = {field.name for field in dataclasses.fields(config)}
  read = {name for path in READERS[stage] for name in fields_read(
      (ROOT / 'agentrl' / path).read_text())}
  assert declared - read == set()


def test_a_field_that_no_code_reads_is_seen():
  assert {*fields_read('x = config.a + f(config.b.c)\n'
                       'config.d = other.e')} == {'a', 'b'}


def parameters(function):
  return {p.name for p in inspect.signature(function).parameters.values()
          if p.kind is not p.VAR_KEYWORD}


@pytest.mark.parametrize('section, functions', [
    (sampling.Sampling, (policy.from_bundle, engine.Engine)),
    (tuning.Lora, (tuning.make,)), (dialogue.Limits, (dialogue.Limits,)),
    (sharding.Axes, (sharding.Axes,))])
def test_each_field_of_a_section_is_an_argument(section, functions):
  taken = set().union(*map(parameters, functions))
  assert {field.name for field in dataclasses.fields(section)} <= taken


@pytest.mark.parametrize('section, path, name', [
    (data_config.Evolve, 'evolve.py', 'options'),
    (data_config.Monitor, 'scale/shards.py', 'monitor')])
def test_each_field_of_a_section_is_read(section, path, name):
  text = (ROOT / 'agentrl/eigendata' / path).read_text()
  assert {field.name for field in dataclasses.fields(section)} <= {
      *fields_read(text, name)}


def test_configs_name_every_setting_of_the_sampler():
  given = {field.name for field in dataclasses.fields(sampling.Sampling)}
  fixed = {'config', 'stop_id', 'pad_id', 'bundle', 'meshes'}
  assert parameters(engine.Engine) | parameters(
      policy.from_bundle) == given | fixed


@pytest.mark.parametrize('change, words', [
    ({'grpo': {'num_tasks': 1}}, "config.grpo.num_tasks would have no effect"),
    ({'gropo': {}}, "config.gropo would have no .* Did you mean 'grpo'"),
    ({'data': {'per_task': 12}}, 'config.data.per_task would have no effect'),
    ({'data': {'drop_failures': True}}, 'config.data.drop_failures would'),
    ({'data': {'evolve': 3}}, 'config.data.evolve must be a section')])
def test_a_chain_refuses_fields_without_effect(scripts, change, words):
  config = load('quickstart.py', None)
  with config.unlocked(), config.ignore_type():
    for stage, values in change.items():
      config[stage] = {**config.get(stage, {}), **values}
  with pytest.raises(ValueError, match=words):
    scripts[1].read_stages(config)


def test_total_steps_stands_once():
  config = load('grpo/builtin.py', None)
  with config.unlocked():
    config.optimizer.total_steps = 100
  with pytest.raises(ValueError, match='config.optimizer.total_steps would'):
    resolve.name('agentrl.rl.train:read_config')(config)


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
