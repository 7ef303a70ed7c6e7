"""Experts: every token has its own, whatever the others choose."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import config as model_config
from agentrl.models import moe

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=1, d_model=6, num_heads=2, num_kv_heads=1,
    head_dim=4, d_ff=5, max_length=32, num_experts=4, experts_per_token=2)
RNG = np.random.default_rng(0)
PARAMS = {name: {'kernel': RNG.normal(size=shape)} for name, shape in (
    ('router', (6, 4)), ('up', (4, 6, 2, 5)), ('down', (4, 5, 6)))}
X = RNG.normal(size=(2, 7, 6)).astype(np.float32)
REAL = np.arange(7) < np.array([[7], [4]])


def run(config, x=X, params=PARAMS, real=REAL):
  out, sown = jax.jit(lambda *args: moe.Moe(config).apply(
      {'params': params}, *args, mutable=[moe.COLLECTION]))(x, real)
  return out, moe.routing(sown, real.sum())


def by_hand(config, x_D):
  """One token: softmax, the best experts, each a SwiGLU."""
  router, up, down = (PARAMS[k]['kernel'] for k in ('router', 'up', 'down'))
  p = np.exp(x_D @ router) / np.exp(x_D @ router).sum()
  best = np.argsort(-p)[:config.experts_per_token]
  weight = p[best] / (p[best].sum() if config.norm_topk else 1)
  out = 0
  for e, w in zip(best, weight):
    gate, value = (x_D @ up[e, :, i] for i in range(2))
    out += w * (gate / (1 + np.exp(-gate)) * value) @ down[e]
  return out, best


@pytest.mark.parametrize('change', [
    {}, dict(norm_topk=True), dict(experts_per_token=4),
    dict(experts_per_token=1)])
def test_each_token_by_hand(change):
  config = dataclasses.replace(CONFIG, **change)
  out, routing = run(config)
  count = np.zeros(4)
  for b, t in np.ndindex(2, 7):
    want, best = by_hand(config, X[b, t])
    np.testing.assert_allclose(out[b, t], want if REAL[b, t] else 0, atol=1e-5)
    count[best] += REAL[b, t]
  np.testing.assert_array_equal(routing.count_LE, [count])
  np.testing.assert_allclose(routing.prob_LE.sum(), REAL.sum(), rtol=1e-5)


def test_what_stands_in_a_pad_does_no_harm():
  junk = np.where(REAL[..., None], X, 1e4)
  for found, want in zip(jax.tree.leaves(run(CONFIG, junk)),
                         jax.tree.leaves(run(CONFIG))):
    np.testing.assert_array_equal(found, want)
  none = np.zeros_like(REAL)
  out, routing = run(CONFIG, real=none)
  assert not out.any() and moe.balance_loss(routing) == 0


def test_bfloat16_is_near():
  config = dataclasses.replace(CONFIG, dtype='bfloat16')
  # The router too sees rounded states; far from a tie none changes its mind.
  far = {**PARAMS, 'router': {'kernel': 9 * PARAMS['router']['kernel']}}
  out, _ = run(config, jnp.asarray(X, 'bfloat16'), far)
  assert out.dtype == jnp.bfloat16
  want, _ = run(CONFIG, X, far)
  assert np.abs(np.asarray(out, np.float32) - want).max() < 0.05 * np.abs(
      want).max()


@functools.partial(jax.jit, static_argnames='ways')
@functools.partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
def total(x_BTD, weight_BTC, kernels, expert_BTC, first, ways):
  out_BTD = moe._run(CONFIG, (x_BTD, weight_BTC, expert_BTC), kernels,
                     ways=ways, first=first)
  return (out_BTD * jnp.arange(6)).sum(), out_BTD


@pytest.mark.parametrize('skewed', [False, True])
@pytest.mark.parametrize('first', [0, 4])
def test_portions_that_hold_nothing_are_skipped_and_no_other(first, skewed):
  """Of eight experts four are here, and 14 pairs are done in four portions."""
  rng = np.random.default_rng(1)
  expert_BTC = rng.integers(0, 9, (1, 7, 2))  # 8 is none
  if skewed:
    expert_BTC[:] = 5
  weight_BTC = rng.normal(size=(1, 7, 2)).astype(np.float32)
  kernels = tuple(np.float32(PARAMS[k]['kernel']) for k in ('up', 'down'))
  found, want = (total(X[:1], weight_BTC, kernels, expert_BTC, first, ways=ways)
                 for ways in (4, 1))
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5),
               found, want)
  assert (np.abs(want[0][1]).max() > 0.1) == (not skewed or first == 4)


def test_a_portion_is_a_share_or_what_memory_allows():
  assert moe.portions(14, 4) == 4
  assert moe.portions(2**19, 2) == 8


def test_balance_worked_numbers():
  even = moe.Routing(np.full((2, 4), 3.0), np.full((2, 4), 1.5), 6)
  assert moe.balance_loss(even) == 2  # two experts a token
  # All six tokens to the first two experts, whose probability is 1/2 each.
  one = moe.Routing(np.array([[6.0, 6, 0, 0]]), np.array([[3.0, 3, 0, 0]]), 6)
  assert moe.balance_loss(one) == 4
  loss, metrics = moe.penalty(
      dataclasses.replace(CONFIG, router_aux_coef=0.1), one, 0.25)
  assert loss == pytest.approx(0.1) and metrics['router_balance'] == 1
  assert metrics['expert_share_max'] == 1
  assert moe.penalty(CONFIG, None, 1.0) == (0.0, {})
