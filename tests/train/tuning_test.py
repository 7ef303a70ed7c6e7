"""Training of adapters, and of bfloat16 with and without a float32 copy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl import checkpoint
from agentrl import sharding
from agentrl import testing
from agentrl.models import config as model_config
from agentrl.models import lora
from agentrl.models import transformer
from agentrl.sft import likelihood
from agentrl.train import loop
from agentrl.train import optimizer
from agentrl.train import tuning
from agentrl.train import updates

MODEL = model_config.ModelConfig(11, 2, 8, 2, 1, 4, 12, 16,
                                 param_dtype='bfloat16', scan_layers=True)
KW = dict(peak_lr=0.1, norm_lr=1.0, warmup_steps=0, total_steps=10,
          schedule='constant', clip_norm=1e9, master=False)
LORA = dict(rank=2, alpha=4.0, targets='kernel$')


@jax.jit
def make_params():
  return transformer.init(MODEL, jax.random.key(0))


@functools.cache
def made(name):
  """Returns the `loop.Training` of a kind of fine-tuning."""
  partition = (tuning.make(jax.random.key(1), **LORA) if name == 'lora'
               else tuning.FULL)
  tx = optimizer.make(name='adamw', b1=0.9, b2=0.95, weight_decay=0.1,
                      **KW | dict(master=name == 'master'))
  mesh = sharding.make_mesh(dict(data=1, fsdp=1, tensor=1))
  return loop.make(
      make_params, functools.partial(likelihood.next_token, model=MODEL), tx,
      mesh=mesh, micro_rows=2, partition=partition)


def run(name, state, steps):
  training = made(name)
  frozen = training.partition.frozen(make_params())
  for _ in range(steps):
    state, values = training.update(state, testing.packed_rows(), frozen)
  return state, frozen, values


def same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_only_adapters_are_trained_and_have_optimiser_state():
  training = made('lora')
  like = training.abstract_state
  sizes = lambda tree: sorted(x.size for x in jax.tree.leaves(tree))
  adapters = sizes(like.params)
  assert sum(adapters) < sum(sizes(make_params())) / 2
  assert sizes(like.opt_state) == sorted(
      [1] * (len(sizes(like.opt_state)) - 2 * len(adapters)) + 2 * adapters)
  state, frozen, _ = run('lora', training.init(make_params()), 3)
  same(frozen, make_params())
  assert all(x.any() for x in jax.tree.leaves(state.params))  # B too
  merged = training.partition.merge(state.params, frozen)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), merged) == jax.tree.map(
      lambda x: (x.shape, x.dtype), frozen)
  same(merged['embed'], frozen['embed'])
  assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves,
                                                 (merged, frozen))))


@pytest.mark.slow
def test_adapters_have_the_gradients_of_the_merged_model_in_parts_too():
  model = model_config.ModelConfig(11, 1, 8, 2, 1, 4, 12, 16)
  params = jax.jit(lambda: transformer.init(model, jax.random.key(0)))()
  adapters = jax.tree.map(lambda x: np.array(x) + 0.1, lora.init(
      params, jax.random.key(1), rank=2, targets='kernel$'))
  data = testing.packed_rows()
  data['total'] = data['target_BT'].sum()
  grads = jax.jit(jax.grad(lambda a: likelihood.next_token(
      lora.merge(params, a, 2.0), data, model=model)[0]))(adapters)
  update = jax.jit(updates.make_update(
      functools.partial(likelihood.next_token, model=model), optax.sgd(1.0),
      lambda adapters, params: lora.join(params, adapters, 2.0)))
  state, _ = update(updates.init(adapters, optax.sgd(1.0)),
                    updates.split(testing.packed_rows(), 1), params)
  jax.tree.map(lambda x, y, g: np.testing.assert_allclose(x - y, g, atol=1e-5),
               adapters, state.params, grads)
  assert optax.tree.norm(grads) > 0.1


@pytest.mark.parametrize('name', ['lora', 'master'])
def test_saved_and_restored_is_as_if_nothing_had_been(name, tmp_path):
  training = made(name)
  want, _, loss = run(name, training.init(make_params()), 4)
  half, _, before = run(name, training.init(make_params()), 2)
  manager = checkpoint.Manager(tmp_path)
  manager.save(2, half, {})
  manager.close()
  restored = checkpoint.Manager(tmp_path).restore(training.abstract_state)
  same(run(name, restored.state, 2)[0], want)
  assert loss['loss'] < before['loss']


def sgd_on_ones(steps, **kw):
  """Parameter 1.0 in bfloat16 after steps of 1/1000 downwards."""
  tx = optimizer.make(name='sgd', **{**KW, 'peak_lr': 1e-3, **kw})
  params = {'w': jnp.ones(4, jnp.bfloat16)}
  state = tx.init(params)
  for _ in range(steps):
    deltas, state = tx.update({'w': jnp.ones(4)}, state, params)
    params = optax.apply_updates(params, deltas)
  return params['w'], state


def test_what_bfloat16_cannot_hold_accumulates_in_the_master_alone():
  w, state = sgd_on_ones(100, master=True)
  np.testing.assert_allclose(state.params['w'], 0.9, rtol=1e-5)
  np.testing.assert_array_equal(w, state.params['w'].astype(jnp.bfloat16))
  np.testing.assert_array_equal(sgd_on_ones(100)[0], 1.0)


def test_a_master_of_float32_is_refused():
  tx = optimizer.make(name='sgd', **KW | dict(master=True))
  with pytest.raises(ValueError, match='float32 already'):
    tx.init({'w': jnp.ones(4)})


def test_moments_are_float32_whatever_the_parameters():
  like = made('plain').abstract_state
  assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(like.params))
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(like.opt_state)
             if x.ndim)


def test_gradients_of_bfloat16_add_up_in_float32():
  loss_fn = lambda params, b: ((params['w'] * b['x_B1']).sum(), {})
  update = jax.jit(updates.make_update(loss_fn, optax.sgd(1.0)))
  x_B1 = np.full((257, 1), 2.0**-9)
  x_B1[0] = 1.0  # in bfloat16 nothing could be added to it
  data = {'x_B1': x_B1.astype(jnp.bfloat16),
          'target_BT': np.ones((257, 1), bool)}
  state = updates.init({'w': jnp.zeros((), jnp.bfloat16)}, optax.sgd(1.0))
  state, values = update(state, updates.split(data, 1))
  assert float(values['grad_norm']) == 1.5 and float(state.params['w']) == -1.5


@pytest.mark.parametrize('change, words', [
    (dict(rank=-1), 'lora.rank must be 0 .* got -1'),
    (dict(alpha=0.0), 'lora.alpha must be above 0')])
def test_wrong_sections_are_refused(change, words):
  with pytest.raises(ValueError, match=words):
    tuning.make(jax.random.key(0), **{**LORA, **change})


@pytest.mark.parametrize('name, kw, words', [
    ('muon', dict(b1=0.9, b2=0.9, weight_decay=0.0), 'adapters are not'),
    ('sgd', dict(norm_lr=2.0), 'norm_lr=2.0 would have no effect')])
def test_what_adapters_have_not_cannot_be_optimised(name, kw, words):
  tx = optimizer.make(name=name, **{**KW, **kw})
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: tx.init(
        made('lora').partition.trained(make_params())))
