"""Optimisers by the names of optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.train import optimizer

KW = dict(peak_lr=0.1, norm_lr=1.0, warmup_steps=0, total_steps=10,
          schedule='constant', clip_norm=1e9, master=False)


def test_each_name_makes_an_update_and_keeps_its_state():
  params = {'layer': {'kernel': jnp.ones((3, 2), jnp.bfloat16)},
            'scale': jnp.ones(2, jnp.bfloat16)}
  grads = jax.tree.map(lambda x: x.astype(jnp.float32), params)
  kinds = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  for name in optimizer.OPTAX:
    tx = optimizer.make(name=name, **KW)
    state = jax.eval_shape(tx.init, params)
    deltas, after = jax.eval_shape(tx.update, grads, state, params)
    assert kinds(after) == kinds(state), name
    assert jax.tree.structure(deltas) == jax.tree.structure(params), name


@pytest.mark.parametrize('name, own, want', [
    ('sgd', dict(momentum=0.5), 0.1 + 0.15),
    ('lion', dict(b1=0.9, b2=0.9, weight_decay=0.0), 0.2),
    ('lion', dict(b1=0.9, b2=0.9, weight_decay=0.5), 0.15 + 0.1425)])
def test_own_fields_reach_the_optimiser(name, own, want):
  tx = optimizer.make(name=name, **own, **KW)
  params = {'w': jnp.ones((1, 1))}
  state = tx.init(params)
  for _ in range(2):
    deltas, state = tx.update({'w': jnp.ones((1, 1))}, state, params)
    params = optax.apply_updates(params, deltas)
  np.testing.assert_allclose(1 - params['w'], want, rtol=1e-2)


def test_adafactor_keeps_means_of_rows_and_columns():
  params = {'up': {'kernel': jnp.ones((128, 2, 256))}, 'v': jnp.ones(3)}
  tx = optimizer.make(name='adafactor', **KW)
  state = jax.eval_shape(tx.init, params)
  assert sum(x.size for x in jax.tree.leaves(state)) < 2 * (128 + 256) + 20


def test_decay_is_of_matrices_alone_under_either_name():
  params = {'m': jnp.ones((2, 2)), 'v': jnp.ones(2),
            'layers': {'scale': jnp.ones((3, 2)), 'bias': jnp.ones((2, 2))}}
  zero = jax.tree.map(jnp.zeros_like, params)
  for name, field in (('adamw', 'weight_decay'),
                      ('adafactor', 'weight_decay_rate')):
    tx = optimizer.make(name=name, **{field: 0.5}, **KW)
    deltas, _ = tx.update(zero, tx.init(params), params)
    assert deltas['m'].all(), name
    assert not any(x.any() for x in jax.tree.leaves(
        [deltas['v'], deltas['layers']])), name
