"""A restored state equals the saved one; leaves that do not fit are named."""

import dataclasses
import functools
import shutil

import jax
import ml_collections
import numpy as np
import pytest

from agentrl import checkpoint
from agentrl import files
from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.stage import bundles
from agentrl.stage import runs
from agentrl.tokenizer import vocab as vocab_lib
from agentrl.train import optimizer
from agentrl.train import updates

MODEL = model_config.ModelConfig(300, 1, 8, 2, 1, 4, 8, 16)
TX = optimizer.make(name='muon', peak_lr=0.1, norm_lr=1.0, warmup_steps=1,
                    total_steps=9, schedule='cosine', clip_norm=1.0,
                    master=False, weight_decay=0.1, b1=0.9, b2=0.9)


def mesh():
  return sharding.make_mesh(dict(data=1, fsdp=1, tensor=1))


def state(model=MODEL):
  return updates.init(transformer.init(model, jax.random.key(0)), TX)


def same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def saved(tmp_path):
  manager = checkpoint.Manager(tmp_path / 'c', keep=2)
  for step in (1, 2, 3):
    manager.save(step, state(), {'next_index': step})
  manager.close()
  return tmp_path / 'c'


def like(model=MODEL):
  return sharding.abstract(functools.partial(state, model), mesh())


def test_the_newest_comes_back_and_old_ones_go(saved):
  step, restored, position = checkpoint.Manager(saved).restore(like())
  assert (step, position) == (3, {'next_index': 3})
  same(restored, state())
  assert not (saved / '1').exists()


def test_nothing_to_restore_is_none(tmp_path):
  assert checkpoint.Manager(tmp_path / 'new').restore(like()) is None


def test_a_half_written_checkpoint_is_not_picked(saved):
  shutil.copytree(saved / '3', saved / '4.orbax-checkpoint-tmp-1')
  assert checkpoint.Manager(saved).restore(like()).step == 3


def test_another_model_is_named_leaf_by_leaf(saved):
  other = model_config.ModelConfig(300, 1, 8, 2, 1, 4, 12, 16)
  with pytest.raises(ValueError, match=r'down/kernel: checkpoint \(8, 8\), '
                     r'model \(12, 8\)'):
    checkpoint.Manager(saved).restore(like(other))


def test_a_corrupt_checkpoint_says_so(saved):
  for path in (saved / '3' / 'state').rglob('*'):
    if path.is_file():
      path.write_bytes(b'junk')
  with pytest.raises(ValueError, match='cannot be read'):
    checkpoint.Manager(saved).restore(like())


def test_a_bundle_is_a_folder_that_checks_itself(tmp_path):
  vocab = vocab_lib.train(['some words here'] * 9, 300)
  params = transformer.init(MODEL, jax.random.key(1))
  run = runs.start(tmp_path / 's', 'sft', ml_collections.ConfigDict())
  run.finish(bundles.save(run.folder, MODEL, vocab, params))
  bundle = bundles.read(tmp_path / 's', mesh(), 'agent')
  assert bundle.model == MODEL and bundle.vocab.digest == vocab.digest
  same(bundle.params, params)
  # Activations that its training recomputed are kept afterwards.
  files.write_json(tmp_path / 's/model.json', {
      **dataclasses.asdict(MODEL), 'remat': 'full'})
  assert bundles.read(tmp_path / 's', mesh(), 'agent').model == MODEL
  checkpoint.save_params(tmp_path / 's/params', jax.tree.map(
      lambda x: x + 1, params))
  with pytest.raises(ValueError, match='not those that its manifest names'):
    bundles.read(tmp_path / 's', mesh(), 'agent')
  other = runs.start(tmp_path / 't', 'data', ml_collections.ConfigDict())
  other.finish()
  with pytest.raises(ValueError, match='not one that trains a model'):
    bundles.read(tmp_path / 't', mesh(), 'agent')
