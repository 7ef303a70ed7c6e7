"""The sampler: the distribution it says, and never a pad."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.rollout import device

LOGITS = jnp.log(jnp.array([0.3, 0.1, 0.4, 0.2]))  # id 0 is the pad


def draw(count, temperature, logits_V=LOGITS):
  return device.sample(
      jnp.tile(logits_V, (count, 1)),
      jax.random.split(jax.random.key(0), count),
      temperature=jnp.float32(temperature), pad_id=0)


def test_draws_what_the_logits_say_but_no_pad():
  ids_B, logp_B = draw(20_000, 1.0)
  share_V = np.bincount(ids_B, minlength=4) / 20_000
  # Without the pad: 1/7, 4/7, 2/7; four standard errors are 0.014.
  np.testing.assert_allclose(share_V, [0, 1 / 7, 4 / 7, 2 / 7], atol=0.014)
  np.testing.assert_allclose(logp_B, LOGITS[ids_B], rtol=1e-5)


def test_draws_across_blocks_of_ids():
  p_V = np.random.default_rng(0).dirichlet(np.full(150, 0.3))  # not 2 x 64
  p_V[0], p_V[64:128] = 0.0, p_V[64:128] / 100
  ids_B, logp_B = draw(20_000, 1.0, jnp.log(jnp.array(p_V)))
  p_V /= p_V.sum()
  share_V = np.bincount(ids_B, minlength=150) / 20_000
  error_V = np.sqrt(p_V * (1 - p_V) / 20_000)
  assert (abs(share_V - p_V) <= 4.5 * error_V + 1e-4).all()
  np.testing.assert_allclose(logp_B, np.log(p_V[ids_B]), rtol=1e-4)


def test_temperature():
  ids_B, logp_B = draw(20_000, 0.5)  # squares the probabilities
  share_V = np.bincount(ids_B, minlength=4) / 20_000
  np.testing.assert_allclose(
      share_V, np.array([0, 1, 16, 4]) / 21, atol=0.014)
  np.testing.assert_allclose(
      np.exp(logp_B), (np.array([9, 1, 16, 4]) / 30)[ids_B], rtol=1e-5)


def test_greedy_takes_the_likeliest_with_certainty():
  ids_B, logp_B = draw(8, 0.0)
  assert set(ids_B.tolist()) == {2}
  assert not logp_B.any()


def test_what_has_no_probability_is_not_drawn():
  ids_B, logp_B = draw(1000, 1.0, jnp.array([5.0, -jnp.inf, 1.0, -jnp.inf]))
  assert set(ids_B.tolist()) == {2}
  assert np.isfinite(logp_B).all()


def sampled(model, params):
  """The cache, ids and log-probabilities after a prefill and a burst."""
  cache = cache_lib.empty(model, 3, 12)
  spec = device.EngineSpec(model, burst=4, stop_id=-1, pad_id=0,
                           shardings=device.cache_shardings(cache, params))
  rows = device.SlotRows(np.array([2, 0, 3]), np.arange(3),
                         np.zeros(3, np.int32),
                         np.array([5, 3, 0]))  # the last row is unused
  ids_BT = np.random.default_rng(0).integers(2, 9, (3, 5))
  cache = device.prefill(params, jax.device_put(cache, spec.shardings), rows,
                         ids_BT, spec=spec, span=12)
  rows = rows._replace(start_B=rows.count_B, count_B=np.array([4, 2, 0]))
  return jax.device_get(device.decode(
      params, cache, rows, ids_BT[:, -1], np.float32(1), spec=spec, span=12))


def test_layers_that_are_scanned_sample_what_unrolled_ones_do():
  model = model_config.ModelConfig(9, 3, 8, 2, 1, 4, 8, 12)
  plain = jax.tree.map(
      lambda x: 1.5 * x, transformer.init(model, jax.random.key(0)))
  params = {k: v for k, v in plain.items() if not k.startswith('layers_')}
  params['layers'] = jax.tree.map(
      lambda *each: jnp.stack(each), *(plain[f'layers_{i}'] for i in range(3)))
  scanned = dataclasses.replace(model, scan_layers=True)
  ours, want = sampled(scanned, params), sampled(model, plain)
  assert len(set(want[1].ravel())) > 3  # a pad, and what was drawn
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5),
               ours, want)
