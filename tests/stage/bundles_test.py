"""Published weights through the stages: SFT, resumed, GRPO, evaluation."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl import files
from agentrl import metrics
from agentrl import sharding
from agentrl import testing
from agentrl.eigendata import run as eigendata
from agentrl.eval import run as evaluation
from agentrl.models import weights
from agentrl.rl import train as rl
from agentrl.sft import train as sft
from agentrl.stage import bundles
from agentrl.stage import inputs
from agentrl.stage import sources
from configs import blocks
from configs.eigendata import builtin as data_config
from configs.eval import builtin as eval_config
from configs.grpo import builtin as grpo_config
from configs.sft import builtin as sft_config

pytest.importorskip('safetensors')
pytest.importorskip('tokenizers')

CONFIG = testing.tiny_model(num_layers=1, max_length=4096)
ONE = dict.fromkeys(sharding.AXES, 1)
SAMPLER = blocks.sampler(slots=4, length=512, max_new=32, width=4,
                         chunks=(64,))


@pytest.fixture(scope='module')
def folder(once):
  """A published model: one that chatters, in ChatML."""
  def make(path):
    weights.write(path / 'model', CONFIG, testing.chatty_params(CONFIG))
    testing.chatml_vocab().save(path / 'model/tokenizer.json')
  return str(once('chatty_model', make) / 'model')


@pytest.fixture(scope='module')
def data(once):
  c = data_config.get_config()
  c.update(domains=('orders',), num_train=4, num_test=2, databases=1,
           max_tries=20, workers=1, demands_train=(1.0, 0.0, 0.0))
  return str(once('few_orders', lambda path: eigendata.synthesize(
      c, str(path / 'data'))) / 'data')


def sft_fields(folder, data, **fields):
  c = sft_config.get_config('side=assistant')
  with c.unlocked():
    c.model = dict(dtype='float32', scan_layers=True)
  c.update(domains=('orders',), data=data, tokenizer='', init_from=folder,
           mesh=ONE, length=2048, batch_size=1, micro_rows=1, total_steps=4,
           save_every=2, **fields)
  c.optimizer.update(name='adamw', warmup_steps=1)
  return c


@pytest.fixture(scope='module')
def trained(folder, data, once):
  return str(once('chatty_sft', lambda path: sft.train(
      sft_fields(folder, data), str(path / 'sft'))) / 'sft')


def test_sft_goes_on_from_a_checkpoint_as_if_nothing_had_been(
    folder, data, trained, tmp_path, monkeypatch):
  write = metrics.MetricsWriter.write

  def fall(self, step, values):
    if step == 3:
      raise KeyboardInterrupt
    write(self, step, values)
  with monkeypatch.context() as context:
    context.setattr(metrics.MetricsWriter, 'write', fall)
    with pytest.raises(KeyboardInterrupt):
      sft.train(sft_fields(folder, data), str(tmp_path / 's'))
  # The weights are in the checkpoint; nothing but their shape is read again.
  monkeypatch.setattr(weights, 'read', None)
  sft.train(sft_fields(folder, data), str(tmp_path / 's'))
  same = lambda path: [r['train/loss'] for r in metrics.read(path)]
  assert same(tmp_path / 's') == same(trained) and len(same(trained)) == 4
  assert (inputs.manifest(tmp_path / 's')['made']['params']
          == inputs.manifest(trained)['made']['params'])


def test_what_was_trained_is_a_model_of_the_same_vocabulary(folder, trained):
  described = bundles.describe(inputs.resolve(trained, 'agent'))
  assert described.vocab.digest == testing.chatml_vocab().digest
  assert described.model == dataclasses.replace(CONFIG, scan_layers=True)
  mesh = sharding.make_mesh(ONE)
  before = bundles.read(folder, mesh, 'agent', dict(scan_layers=True)).params
  after = bundles.read(trained, mesh, 'agent').params
  assert jax.tree.structure(before) == jax.tree.structure(after)
  assert not np.array_equal(before['embed'], after['embed'])
  half = bundles.read(trained, mesh, 'agent', dict(param_dtype='bfloat16'))
  assert half.params['embed'].dtype == jnp.bfloat16
  assert half.model.param_dtype == 'bfloat16'


@pytest.mark.slow
def test_grpo_and_evaluation(folder, data, trained, tmp_path):
  c = grpo_config.get_config()
  limits = dict(max_steps=4, max_errors=4)
  c.update(domains=('orders',), data=data, init_from=folder, user=trained,
           mesh=ONE, total_steps=1, tasks=2, group=2, wave=2, limits=limits,
           filter='agentrl.rl.filters:keep_all', micro_rows=1)
  with c.unlocked():
    c.sampler = c.user_sampler = SAMPLER
  rl.train(c, str(tmp_path / 'grpo'))
  values = metrics.read(tmp_path / 'grpo')[0]
  assert values['train/episodes'] >= 4
  assert values['train/target_tokens'] > 5
  assert values['train/logp_gap_max'] < 1e-4
  digests = files.read_json(tmp_path / 'grpo/config.json')['inputs']
  assert digests['init_from'] == sources.digest(sources.locate(folder))

  c = eval_config.get_config()
  c.update(domains=('orders',), data=data, agent=str(tmp_path / 'grpo'),
           user=folder, mesh=ONE, trials=1, limits=limits)
  with c.unlocked():
    c.sampler = c.user_sampler = SAMPLER
  evaluation.evaluate(c, str(tmp_path / 'eval'))
  assert files.read_json(tmp_path / 'eval/metrics.json')['num_tasks'] == 2
  assert (inputs.manifest(tmp_path / 'eval')['inputs']['user']
          == digests['init_from'])


@pytest.mark.parametrize('fields, words', [
    (dict(init_from=''), 'set the one to'),
    (dict(init_from='none'), 'is not the folder of a stage'),
    (dict(tokenizer='none'), 'is not the folder of a stage'),
    (dict(model=dict(d_model=16, d_ff=48)), r"{'d_ff': \(32, 48\)}"),
    (dict(model=dict(d_mdl=16)), "has no such field. Did you mean 'd_model'"),
])
def test_what_does_not_fit_is_said_before_anything_is_read(
    folder, data, tmp_path, monkeypatch, fields, words):
  c = sft_fields(folder, data)
  with c.unlocked():
    c.update({k: v for k, v in fields.items() if k != 'model'})
    c.model = fields.get('model', c.model)
  monkeypatch.setattr(weights, 'read', None)
  with pytest.raises(ValueError, match=words):
    sft.train(c, str(tmp_path / 's'))


def test_a_vocabulary_larger_than_the_embedding(folder, tmp_path):
  small = dataclasses.replace(CONFIG, vocab_size=260)
  weights.write(tmp_path / 'x', small, testing.chatty_params(small))
  testing.chatml_vocab().save(tmp_path / 'x/tokenizer.json')
  with pytest.raises(ValueError, match=r'has 265 ids.* embedding 260 rows'):
    bundles.describe(inputs.resolve(tmp_path / 'x', 'agent'))


def test_a_stage_keeps_how_its_layers_are_stored(trained):
  with pytest.raises(ValueError, match='scan_layers.*Leave these out'):
    bundles.describe(inputs.resolve(trained, 'agent'),
                     dict(scan_layers=False))


def test_other_weights_have_another_digest(folder, tmp_path):
  other = jax.tree.map(lambda x: x + 1, testing.chatty_params(CONFIG))
  weights.write(tmp_path / 'x', CONFIG, other)
  testing.chatml_vocab().save(tmp_path / 'x/tokenizer.json')
  digest = sources.digest(tmp_path / 'x')
  assert digest != sources.digest(sources.locate(folder))
  config = json.loads((tmp_path / 'x/config.json').read_text())
  files.write_json(tmp_path / 'x/config.json', config | {'rope_theta': 7.0})
  assert sources.digest(tmp_path / 'x') != digest
