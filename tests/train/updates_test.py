"""The update: parts add up, padding is free, optimisers learn."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl import testing
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.sft import likelihood
from agentrl.train import optimizer
from agentrl.train import updates

MODEL = model_config.ModelConfig(11, 2, 8, 2, 1, 4, 12, 16)
KW = dict(peak_lr=0.1, norm_lr=1.0, warmup_steps=0, total_steps=10,
          schedule='constant', master=False,
          clip_norm=1e9, weight_decay=0.0, b1=0.9, b2=0.95)


def fresh(tx, model=MODEL):
  return updates.init(transformer.init(model, jax.random.key(0)), tx)


def step(data, micro_rows, tx, model=MODEL):
  update = updates.make_update(
      functools.partial(likelihood.next_token, model=model), tx)
  return jax.jit(update)(fresh(tx, model), updates.split(data, micro_rows))


def assert_close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), a, b)


def test_parts_of_any_size_give_the_update_of_the_whole():
  tx = optax.sgd(0.1)
  whole = step(testing.packed_rows(), 4, tx)
  for micro_rows in (1, 2):
    assert_close(step(testing.packed_rows(), micro_rows, tx), whole)


@pytest.mark.slow
def test_the_loss_of_routers_does_not_grow_with_the_number_of_parts():
  tx = optax.sgd(0.1)
  model = dataclasses.replace(MODEL, num_experts=3, experts_per_token=2,
                              router_aux_coef=1.0)
  # All rows are the same, so that each part is balanced as the whole is.
  data = {k: np.repeat(v[:1], 4, 0) for k, v in testing.packed_rows().items()}
  whole = step(data, 4, tx, model)
  for micro_rows in (1, 2):
    assert_close(step(data, micro_rows, tx, model), whole)
  assert 2 < whole[1]['router_balance'] < 3
  off = dataclasses.replace(model, router_aux_coef=0.0)
  without = step(data, 2, tx, off)[1]
  np.testing.assert_allclose(
      whole[1]['loss'] - without['loss'], without['router_balance'], rtol=1e-5)


def test_empty_rows_change_nothing():
  tx = optax.sgd(0.1)
  padded = {k: np.concatenate([v, np.zeros((4, 8), v.dtype)])
            for k, v in testing.packed_rows().items()}
  assert_close(step(padded, 2, tx), step(testing.packed_rows(), 2, tx))


def test_worked_example():
  loss_fn = lambda params, b: (
      (params['w'] * b['x_B1'] * b['target_BT']).sum() / b['total'],
      {'x_max': jnp.abs(b['x_B1']).max()})
  update = updates.make_update(loss_fn, optax.sgd(0.5))
  state = updates.init({'w': jnp.array(2.0)}, optax.sgd(0.5))
  data = {'x_B1': jnp.array([[1.0], [-6.0], [9.0]]),
          'target_BT': jnp.array([[True], [True], [False]])}
  state, values = update(state, updates.split(data, 1))
  # loss = 2 (1 - 6) / 2 = -5; gradient -2.5; the third row has no target, and
  # no part of it is looked at.
  assert float(values['loss']) == -5 and float(values['grad_norm']) == 2.5
  assert float(values['x_max']) == 6 and int(values['target_tokens']) == 2
  assert float(state.params['w']) == 3.25 and int(state.step) == 1


def test_rows_must_divide():
  with pytest.raises(ValueError, match='4 rows does not divide .* 3'):
    step(testing.packed_rows(), 3, optax.sgd(0.1))


@pytest.mark.parametrize('name', ['adamw', 'muon'])
def test_each_optimiser_learns(name):
  tx = optimizer.make(name=name, **{**KW, 'peak_lr': 0.02})
  update = jax.jit(updates.make_update(
      functools.partial(likelihood.next_token, model=MODEL), tx))
  state, losses = fresh(tx), []
  for _ in range(15):
    state, values = update(state, updates.split(testing.packed_rows(), 4))
    losses.append(float(values['loss']))
  assert losses[-1] < 0.6 * losses[0]


@pytest.mark.slow
def test_muon_orthogonalises_the_kernels_of_layers_alone():
  tx = optimizer.make(name='muon', **{**KW, 'b1': 0.0})
  params = transformer.init(MODEL, jax.random.key(0))
  grads = jax.tree.map(
      lambda p: jax.random.normal(jax.random.key(1), p.shape), params)
  deltas, _ = tx.update(grads, tx.init(params), params)
  kernel = np.asarray(deltas['layers_0']['mlp']['down']['kernel'])
  spread = np.linalg.svd(kernel)[1]
  assert spread.max() / spread.min() < 2.5  # all directions alike
  before = np.linalg.svd(grads['layers_0']['mlp']['down']['kernel'])[1]
  assert before.max() / before.min() > 2.5
  np.testing.assert_allclose(np.abs(deltas['embed']).std() /
                             np.abs(deltas['embed']).mean(), 0, atol=0.1)


def test_decay_spares_vectors_and_schedule_is_kept():
  tx = optimizer.make(name='adamw', **{
      **KW, 'weight_decay': 0.5, 'warmup_steps': 4, 'schedule': 'cosine'})
  params = {'m': jnp.ones((2, 2)), 'v': jnp.ones(2)}
  state, zero = tx.init(params), jax.tree.map(jnp.zeros_like, params)
  sizes = []
  for _ in range(11):
    deltas, state = tx.update(zero, state, params)
    assert not np.asarray(deltas['v']).any()
    sizes.append(float(-deltas['m'][0, 0]))
  np.testing.assert_allclose(sizes[:5], [0, .0125, .025, .0375, .05], rtol=1e-5)
  assert sizes[10] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('scan', [False, True])
def test_decay_spares_scales_and_biases_of_scanned_layers_too(scan):
  model = dataclasses.replace(MODEL, scan_layers=scan, qkv_bias=True,
                              post_norm=True, zero_centered_norm=True)
  params = jax.tree.map(jnp.ones_like,
                        transformer.init(model, jax.random.key(0)))
  tx = optimizer.make(name='adamw', **{**KW, 'weight_decay': 0.5})
  deltas, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params),
                        params)
  for path, delta in jax.tree_util.tree_leaves_with_path(deltas):
    vector = path[-1].key in ('scale', 'bias')
    assert np.asarray(delta).any() != vector, jax.tree_util.keystr(path)


@pytest.mark.parametrize('name', ['adamw', 'muon'])
def test_the_norms_have_a_learning_rate_of_their_own(name):
  params = transformer.init(MODEL, jax.random.key(0))
  deltas = []
  for norm_lr in (1.0, 10.0):
    tx = optimizer.make(name=name, **{**KW, 'norm_lr': norm_lr})
    deltas.append(tx.update(params, tx.init(params), params)[0])
  ratio = jax.tree.map(lambda x, y: np.unique(np.round(y / x)), *deltas)
  by_name = {jax.tree_util.keystr(path): value.tolist() for path, value
             in jax.tree_util.tree_leaves_with_path(ratio)}
  assert all(value == [10 if 'norm' in path else 1]
             for path, value in by_name.items()), by_name


@pytest.mark.parametrize('change, words', [
    (dict(name='adafactr'), "'adafactr'. Did you mean 'adafactor'"),
    (dict(name='sgd'), "sgd takes no 'weight_decay'"),
    (dict(name='adamw', schedule='line'), "'cosine' or 'constant'")])
def test_unknown_names_are_refused(change, words):
  with pytest.raises(ValueError, match=words):
    optimizer.make(**{**KW, **change})
