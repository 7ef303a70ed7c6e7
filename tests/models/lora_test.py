"""Adapters: nothing at first, then just what merging them gives."""

import functools

import jax
import numpy as np
import pytest

from agentrl.models import config as model_config
from agentrl.models import lora
from agentrl.models import transformer

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=2, d_model=8, num_heads=2, num_kv_heads=1,
    head_dim=4, d_ff=12, max_length=8, smear=1, scan_layers=True)
IDS = np.random.default_rng(0).integers(0, 31, (2, 8))


@functools.cache
def params():
  return jax.jit(lambda: transformer.init(CONFIG, jax.random.key(0)))()


def adapters(rank=3, targets='kernel$'):
  tree = params()  # not within the jit, where its cache would keep tracers
  return jax.jit(lambda: lora.init(tree, jax.random.key(1), rank=rank,
                                   targets=targets))()


@jax.jit
def forward(params):
  hidden, _ = transformer.hidden(CONFIG, params, IDS,
                                 np.broadcast_to(np.arange(8), (2, 8)))
  return transformer.logits(CONFIG, params, hidden)


def moved(tree, seed=2):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
      lambda x: np.float32(x + rng.normal(size=x.shape)), tree)


@pytest.mark.slow
def test_fresh_adapters_change_no_bit():
  want = forward(params())
  for found in (lora.join(params(), adapters(), 2.0),
                lora.merge(params(), adapters(), 2.0)):
    np.testing.assert_array_equal(forward(found), want)


def test_the_path_beside_a_kernel_is_the_merged_kernel():
  some = moved(adapters())
  want = forward(lora.merge(params(), some, 0.1))
  np.testing.assert_allclose(forward(lora.join(params(), some, 0.1)), want,
                             atol=1e-5)
  assert np.abs(want - forward(params())).max() > 0.1


def test_adapters_of_full_rank_can_be_any_change():
  change = moved(jax.tree.map(np.zeros_like, params()))
  low = adapters(rank=8, targets='(qkv|up)/kernel$')['layers']
  for part, name in (('attention', 'qkv'), ('mlp', 'up')):
    one = low[part][name]
    eye = np.eye(8)[None] if name == 'qkv' else np.eye(8)[None, :, None]
    one[lora.A] = np.broadcast_to(eye, one[lora.A].shape)
    one[lora.B] = change['layers'][part][name]['kernel'] / 2
  found = lora.merge(params(), {'layers': low}, 2.0)
  for part, name in (('attention', 'qkv'), ('mlp', 'up')):
    old, delta, new = (x['layers'][part][name]['kernel']
                       for x in (params(), change, found))
    np.testing.assert_allclose(new, old + delta, atol=1e-6)
  assert found['embed'] is params()['embed']


def test_sizes_are_those_of_the_rank():
  low = adapters()
  shapes = {name: (x[lora.A].shape, x[lora.B].shape) for name, x in {
      **low['layers']['attention'], **low['layers']['mlp'],
      'smear': low['smear']}.items()}
  assert shapes == {
      'qkv': ((2, 8, 3), (2, 3, 4, 4)), 'out': ((2, 8, 3), (2, 3, 8)),
      'up': ((2, 8, 2, 3), (2, 3, 2, 12)), 'down': ((2, 12, 3), (2, 3, 8)),
      'smear': ((8, 3), (3, 8))}


@pytest.mark.parametrize('kw, words', [
    (dict(targets='qvk'), "'qvk' matches no parameter"),
    (dict(targets='(embed|up/kernel)$'), 'embed, which cannot have adapters'),
    (dict(targets='up('), 'is no regex'),
    (dict(rank=9), 'lora.rank=9 is beyond .*, a matrix of rank 8')])
def test_what_cannot_be_adapted_is_said(kw, words):
  with pytest.raises(ValueError, match=words):
    adapters(**kw)


def test_kernels_of_experts_are_refused():
  shape = jax.ShapeDtypeStruct((2, 4, 8, 2, 12), 'float32')
  with pytest.raises(ValueError, match='cannot have adapters'):
    lora.init({'layers': {'mlp': {'up': {'kernel': shape}}}},
              jax.random.key(0), rank=2, targets='up')
