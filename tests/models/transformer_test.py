"""Laws of the decoder: causal, packed = single, cached = whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import attention
from agentrl.models import config as model_config
from agentrl.models import logprobs
from agentrl.models import transformer

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=2, d_model=16, num_heads=4, num_kv_heads=2,
    head_dim=4, d_ff=24, max_length=32)


def params_of(config, seed=0):
  """Random parameters, far from their quiet start."""
  shapes = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
  leaves, tree = jax.tree.flatten(shapes)
  keys = jax.random.split(jax.random.key(seed), len(leaves))
  return jax.tree.unflatten(tree, [
      0.4 * jax.random.normal(k, x.shape) + (x.ndim == 1)
      for k, x in zip(keys, leaves)])


PARAMS = params_of(CONFIG)


def forward(config, params, ids_BT, positions_BT=None, segments_BT=None):
  if positions_BT is None:
    positions_BT = np.broadcast_to(np.arange(ids_BT.shape[1]), ids_BT.shape)
  hidden, _ = transformer.hidden(config, params, ids_BT, positions_BT,
                                 segments_BT)
  return transformer.logits(config, params, hidden)


def ids(batch=2, length=8, seed=0):
  return np.random.default_rng(seed).integers(0, 31, (batch, length))


def test_rope_worked_numbers():
  x = jnp.array([1.0, 0.0, 0.0, 2.0]).reshape(1, 1, 1, 4)
  out = attention.rope(x, jnp.array([[3]]), theta=100.0)[0, 0, 0]
  # Pairs (x0, x2) and (x1, x3), turned by 3 and by 3 / 10 radians.
  np.testing.assert_allclose(
      out, [np.cos(3), -2 * np.sin(0.3), np.sin(3), 2 * np.cos(0.3)],
      rtol=1e-5)


def test_rms_norm_worked_numbers():
  out = transformer.RMSNorm(CONFIG).apply(
      {'params': {'scale': jnp.array([1.0, 2.0])}}, jnp.array([3.0, 4.0]))
  np.testing.assert_allclose(out, np.array([3.0, 8.0]) / 12.5**0.5, rtol=1e-5)


def test_attention_reads_its_own_group():
  v = jnp.arange(2.0).reshape(1, 2, 1, 1)  # one key, kv heads 0 and 1
  out = attention.attend(jnp.ones((1, 1, 4, 1)), jnp.ones((1, 2, 1, 1)), v,
                         jnp.ones((1, 1, 1), bool))
  np.testing.assert_array_equal(out[0, 0, :, 0], [0, 0, 1, 1])


def test_causal():
  a, b = ids(), ids()
  b[:, 5:] = (b[:, 5:] + 1) % 31
  x, y = forward(CONFIG, PARAMS, a), forward(CONFIG, PARAMS, b)
  np.testing.assert_array_equal(x[:, :5], y[:, :5])
  assert np.abs(x[:, 5:] - y[:, 5:]).max() > 0.01


@pytest.mark.parametrize('smear', [False, True])
def test_packed_is_single_and_padding_gives_no_nan(smear):
  config = dataclasses.replace(CONFIG, smear=smear)
  params = params_of(config)
  a, b = ids(1, 5), ids(1, 3, seed=1)
  packed = np.zeros((1, 10), int)
  packed[0, :5], packed[0, 5:8] = a[0], b[0]
  positions = np.array([[0, 1, 2, 3, 4, 0, 1, 2, 0, 0]])
  segments = np.array([[1, 1, 1, 1, 1, 2, 2, 2, 0, 0]])
  out = forward(config, params, packed, positions, segments)
  np.testing.assert_allclose(out[:, :5], forward(config, params, a), atol=1e-5)
  np.testing.assert_allclose(out[:, 5:8], forward(config, params, b), atol=1e-5)
  assert np.isfinite(out).all()


@pytest.mark.parametrize('scan, smear', [(False, False), (True, True),
                                         (False, True)])
@pytest.mark.parametrize('chunks', [(8,), (1,) * 8, (3, 1, 4)])
def test_cached_in_any_chunks_is_whole(scan, smear, chunks):
  config = dataclasses.replace(CONFIG, scan_layers=scan, smear=smear)
  params = params_of(config)
  tokens, whole = ids(), forward(config, params, ids())
  # Row 1 lags by one call, fed pads first: rows are at different places.
  starts, at = [], 0
  cache = transformer.empty_cache(config, 2, 12)
  for call, size in enumerate((*chunks, 0)):
    width = max(size, chunks[call - 1] if call else 0, 1)
    positions = np.full((2, width), -1)
    fed = np.zeros((2, width), int)
    spans = [(0, at, size)] + ([(1, *starts[-1])] if starts else [])
    for row, start, length in spans:
      positions[row, :length] = np.arange(start, start + length)
      fed[row, :length] = tokens[row, start:start + length]
    hidden, cache = transformer.hidden(config, params, fed, positions, None,
                                       cache, span=10)
    out = transformer.logits(config, params, hidden)
    for row, start, length in spans:
      np.testing.assert_allclose(
          out[row, :length], whole[row, start:start + length], atol=1e-4)
    starts.append((at, size))
    at += size
  assert float(jnp.abs(cache.k[0][:, :, 8:]).max()) == 0  # pads wrote nothing


def test_scan_is_unrolled_and_remat_is_plain():
  scanned = dataclasses.replace(CONFIG, scan_layers=True)
  params = params_of(scanned)
  unrolled = {k: v for k, v in params.items() if k != 'layers'}
  for i in range(2):
    unrolled[f'layers_{i}'] = jax.tree.map(
        lambda x, i=i: x[i], params['layers'])
  want = forward(scanned, params, ids())
  np.testing.assert_allclose(forward(CONFIG, unrolled, ids()), want, atol=1e-5)
  remat = dataclasses.replace(CONFIG, remat=True)
  np.testing.assert_allclose(forward(remat, unrolled, ids()), want, atol=1e-5)


@pytest.mark.parametrize('change', [
    dict(rope_theta=50.0), dict(norm_eps=0.3), dict(dtype='bfloat16')])
def test_each_field_without_a_shape_has_an_effect(change):
  config = dataclasses.replace(CONFIG, **change)
  gap = np.abs(forward(config, PARAMS, ids()) - forward(CONFIG, PARAMS, ids()))
  assert gap.max() > 1e-3


def test_each_field_with_a_shape_has_an_effect():
  def shapes(**change):
    config = dataclasses.replace(CONFIG, **change)
    tree = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  for change in (dict(vocab_size=32), dict(num_layers=3), dict(d_model=20),
                 dict(num_heads=6), dict(num_kv_heads=1), dict(head_dim=6),
                 dict(d_ff=20), dict(tie_embeddings=False), dict(smear=True),
                 dict(param_dtype='bfloat16')):
    assert shapes(**change) != shapes(), change


def test_untied_head_is_used():
  config = dataclasses.replace(CONFIG, tie_embeddings=False)
  params = params_of(config)
  out = forward(config, params, ids())
  params['head'] = params['head'].at[3].add(1.0)
  moved = np.abs(forward(config, params, ids()) - out).max((0, 1))
  assert moved[3] > 0.01 and moved[[0, 1, 2]].max() == 0


@pytest.mark.parametrize('chunk', [4096, 5])
def test_token_logps_are_those_of_the_softmax(monkeypatch, chunk):
  monkeypatch.setattr(logprobs, 'CHUNK', chunk)
  tokens = ids(2, 8)
  positions = np.array([[0, 1, 2, 3, 4, 0, 1, 2]] * 2)
  segments = np.array([[1, 1, 1, 1, 1, 2, 2, 2]] * 2)
  target = np.array([[1, 1, 0, 1, 1, 1, 1, 0]] * 2, bool)
  logp, entropy = jax.jit(lambda *a: logprobs.token_logps(
      CONFIG, PARAMS, *a))(tokens, positions, segments, target)
  full = jax.nn.log_softmax(
      forward(CONFIG, PARAMS, tokens, positions, segments))
  for b in range(2):
    for t in range(8):
      if target[b, t] and positions[b, t]:
        p = full[b, t - 1]
        np.testing.assert_allclose(logp[b, t], p[tokens[b, t]], rtol=1e-4)
        np.testing.assert_allclose(entropy[b, t], -(np.exp(p) * p).sum(),
                                   rtol=1e-4)
      else:
        assert logp[b, t] == entropy[b, t] == 0


@pytest.mark.parametrize('change, words', [
    (dict(num_kv_heads=3), 'num_heads=4 must be a multiple'),
    (dict(head_dim=5), 'must be even'), (dict(d_ff=0), 'at least 1'),
    (dict(num_layers=2.0), 'integer')])
def test_wrong_shapes_are_refused(change, words):
  with pytest.raises(ValueError, match=words):
    dataclasses.replace(CONFIG, **change)


def test_unknown_and_missing_fields_are_named():
  with pytest.raises(ValueError, match="no 'd_modl'.*'d_model'"):
    model_config.make({'d_modl': 3})
  with pytest.raises(ValueError, match="needs.*'num_layers'"):
    model_config.make({'vocab_size': 3})


def test_a_fresh_smeared_model_repeats_what_it_has_seen():
  config = model_config.ModelConfig(200, 2, 64, 4, 1, 32, 64, 128, smear=True,
                                    rope_theta=1e6)
  half = np.random.default_rng(0).permutation(200)[None, :24]
  tokens = np.concatenate([half, half], 1)

  def share(config):
    """How often the true next token is among the five likeliest of 200."""
    params = transformer.init(config, jax.random.key(0))
    out = forward(config, params, tokens)[0, 24:-1]
    best = np.argsort(out)[:, -5:]
    return np.mean([t in row for t, row in zip(tokens[0, 25:], best)])
  assert share(config) > 0.35
  assert share(dataclasses.replace(config, smear=False)) < 0.2
