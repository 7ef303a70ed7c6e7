"""What the backward pass makes again: less memory, the same gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import config as model_config
from agentrl.models import transformer

CONFIG = model_config.ModelConfig(31, 4, 32, 2, 1, 16, 128, 64,
                                  scan_layers=True)
IDS = np.random.default_rng(0).integers(0, 31, (4, 64))


@functools.cache
def backward(remat):
  config = dataclasses.replace(CONFIG, remat=remat)

  def loss(params):
    hidden, _ = transformer.hidden(config, params, IDS, jnp.broadcast_to(
        jnp.arange(64), (4, 64)))
    return (hidden * jnp.arange(32)).sum()
  params = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
  return jax.jit(jax.grad(loss)).lower(params).compile()


@pytest.mark.slow
def test_each_policy_keeps_less_than_the_one_before():
  size = {name: backward(name).memory_analysis().temp_size_in_bytes
          for name in model_config.REMAT}
  assert size['full'] < 0.8 * size['dots'] < 0.64 * size['none'], size


def test_attention_that_is_kept_is_not_made_again():
  flops = {name: backward(name).cost_analysis()['flops']
           for name in ('none', 'full', 'attention')}
  # Of one layer (a scan's body counts once) weights times values, in 4 rows of
  # 64 tokens; the weights are made again in any case, for their gradient.
  assert flops['full'] - flops['attention'] > 0.9 * 2 * 4 * 64 * 64 * 32
  assert flops['none'] < flops['attention']


def test_gradients_are_the_same():
  params = jax.jit(lambda: transformer.init(CONFIG, jax.random.key(0)))()
  want = backward('none')(params)
  for name in model_config.REMAT:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(
        x, y, rtol=1e-4, atol=1e-4), backward(name)(params), want)


@pytest.mark.parametrize('remat', ['all', ''])
def test_unknown_policies_are_refused(remat):
  with pytest.raises(ValueError, match='none, full, attention, dots, got'):
    dataclasses.replace(CONFIG, remat=remat)
