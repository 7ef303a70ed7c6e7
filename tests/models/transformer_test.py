"""Laws of the decoder: causal, packed = single, cached = whole."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.models import transformer

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=2, d_model=16, num_heads=4, num_kv_heads=2,
    head_dim=4, d_ff=24, max_length=32)
SMEARED = dataclasses.replace(CONFIG, smear=2)
MOE = dataclasses.replace(CONFIG, num_experts=4, experts_per_token=2)
WINDOWED = dataclasses.replace(CONFIG, window=3, global_every=2)
GEMMA = dataclasses.replace(
    WINDOWED, qk_norm=True, post_norm=True, zero_centered_norm=True,
    activation='gelu_tanh', scale_embeddings=True, query_pre_attn_scalar=9.0,
    local_rope_theta=50.0, rope_scaling=model_config.RopeScaling(8.0))


@functools.cache
def params_of(config):
  """Random parameters, far from their quiet start."""
  shapes = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
  leaves, tree = jax.tree.flatten(shapes)
  rng = np.random.default_rng(0)
  return jax.tree.unflatten(tree, [
      jnp.asarray(0.4 * rng.normal(size=x.shape) + (x.ndim == 1), x.dtype)
      for x in leaves])


@functools.partial(jax.jit, static_argnums=0)
def run(config, params, *args, **kwargs):
  hidden, cache = transformer.hidden(config, params, *args, **kwargs)
  return transformer.logits(config, params, hidden), cache


def forward(config, params, ids_BT, positions_BT=None, segments_BT=None):
  if positions_BT is None:
    positions_BT = np.broadcast_to(np.arange(ids_BT.shape[1]), ids_BT.shape)
  return run(config, params, ids_BT, positions_BT, segments_BT)[0]


def ids(batch=2, length=8, seed=0):
  return np.random.default_rng(seed).integers(0, 31, (batch, length))


def test_rms_norm_worked_numbers():
  out = transformer.RMSNorm(CONFIG).apply(
      {'params': {'scale': jnp.array([1.0, 2.0])}}, jnp.array([3.0, 4.0]))
  np.testing.assert_allclose(out, np.array([3.0, 8.0]) / 12.5**0.5, rtol=1e-5)


@pytest.mark.parametrize('config', [CONFIG, SMEARED])
def test_causal(config):
  params = params_of(config)
  a, b = ids(), ids()
  b[:, 5:] = (b[:, 5:] + 1) % 31
  x, y = forward(config, params, a), forward(config, params, b)
  np.testing.assert_array_equal(x[:, :5], y[:, :5])
  assert np.abs(x[:, 5:] - y[:, 5:]).min(-1).max() > 0.01


@pytest.mark.parametrize('config', [CONFIG, SMEARED, MOE, GEMMA])
def test_packed_is_single_and_padding_gives_no_nan(config):
  params = params_of(config)
  a, b = ids(1, 5), ids(1, 3, seed=1)
  packed = np.zeros((1, 10), int)
  packed[0, :5], packed[0, 5:8] = a[0], b[0]
  positions = np.array([[0, 1, 2, 3, 4, 0, 1, 2, 0, 0]])
  segments = np.array([[1, 1, 1, 1, 1, 2, 2, 2, 0, 0]])
  out = forward(config, params, packed, positions, segments)
  np.testing.assert_allclose(out[:, :5], forward(config, params, a), atol=1e-5)
  np.testing.assert_allclose(out[:, 5:8], forward(config, params, b), atol=1e-5)

  def total(params):
    return forward(config, params, packed, positions, segments).sum()
  for leaf in jax.tree.leaves(jax.grad(total)(params)):
    assert np.isfinite(leaf).all()


@pytest.mark.parametrize('config', [
    CONFIG, SMEARED, dataclasses.replace(SMEARED, scan_layers=True),
    dataclasses.replace(GEMMA, scan_layers=True)])
@pytest.mark.parametrize('chunks', [(8,), (1,) * 8, (3, 1, 4)])
def test_cached_in_any_chunks_is_whole(config, chunks):
  params, tokens = params_of(config), ids()
  whole = forward(config, params, tokens)
  cache = cache_lib.empty(config, 2, 12)
  starts = np.cumsum((0, *chunks))
  width = max(chunks)
  # Row 1 lags by one call and gets pads meanwhile, as row 0 does in the end:
  # rows are at different places, and pads must write nothing.
  for call in range(len(chunks) + 1):
    positions = np.full((2, width), -1)
    fed = np.full((2, width), 7)
    spans = [(row, starts[i], chunks[i]) for row, i in ((0, call),
                                                        (1, call - 1))
             if 0 <= i < len(chunks)]
    for row, start, length in spans:
      positions[row, :length] = np.arange(start, start + length)
      fed[row, :length] = tokens[row, start:start + length]
    out, cache = run(config, params, fed, positions, cache=cache)
    for row, start, length in spans:
      np.testing.assert_allclose(
          out[row, :length], whole[row, start:start + length], atol=1e-4)
  assert not np.asarray(cache.v[0])[:, :, 8:].any()


def test_what_lies_beyond_a_position_in_the_cache_is_not_seen():
  params = params_of(CONFIG)
  position = np.full((2, 1), 4)
  dirty = jax.tree.map(lambda x: x + 9, cache_lib.empty(CONFIG, 2, 6))
  read = np.broadcast_to(np.arange(4), (2, 4))
  clean = cache_lib.empty(CONFIG, 2, 6)
  out = []
  for cache in (clean, dirty):
    _, cache = run(CONFIG, params, ids()[:, :4], read, cache=cache)
    out.append(run(CONFIG, params, ids()[:, 4:5], position, cache=cache)[0])
  np.testing.assert_array_equal(*out)


@pytest.mark.parametrize('config', [CONFIG, GEMMA])
def test_scan_is_unrolled_and_remat_is_plain(config):
  scanned = dataclasses.replace(config, scan_layers=True)
  params = params_of(scanned)
  unrolled = {k: v for k, v in params.items() if k != 'layers'}
  for i in range(2):
    unrolled[f'layers_{i}'] = jax.tree.map(
        lambda x, i=i: x[i], params['layers'])
  want = forward(scanned, params, ids())
  np.testing.assert_allclose(forward(config, unrolled, ids()), want, atol=1e-5)
  remat = dataclasses.replace(config, remat='full')
  np.testing.assert_allclose(forward(remat, unrolled, ids()), want, atol=1e-5)


@pytest.mark.parametrize('layers', [2, 1])
def test_a_local_layer_sees_its_window_and_a_global_one_all(layers):
  config = dataclasses.replace(WINDOWED, num_layers=layers)
  params, tokens = params_of(config), ids(1)
  moved = tokens.copy()
  moved[0, 1] = (moved[0, 1] + 1) % 31
  gap_T = np.abs(forward(config, params, tokens)
                 - forward(config, params, moved)).max(-1)[0]
  # Layer 0 is local: positions 1 to 3 see token 1. Layer 1 is global.
  np.testing.assert_array_equal(
      gap_T > 1e-4, np.arange(8) >= 1 if layers == 2 else
      [False, True, True, True, False, False, False, False])


def test_jitted_is_plain():
  config = dataclasses.replace(CONFIG, num_layers=1)
  params = params_of(config)
  with jax.disable_jit():
    plain = forward(config, params, ids(1, 4))
  np.testing.assert_allclose(forward(config, params, ids(1, 4)), plain,
                             atol=1e-5)


# A change of each field that leaves the parameters' shapes, and of the others.
WITHOUT_SHAPE = (
    dict(rope_theta=50.0), dict(norm_eps=0.3), dict(dtype='bfloat16'),
    dict(rope_scaling=model_config.RopeScaling(8.0, 0.2, 2.0, 16)),
    dict(rope_scaling=model_config.RopeScaling(8.0)),
    dict(window=3, global_every=2), dict(query_pre_attn_scalar=16.0),
    dict(activation='gelu_tanh'), dict(zero_centered_norm=True),
    dict(scale_embeddings=True))
OF_WINDOWS = (dict(window=4), dict(global_every=3), dict(local_rope_theta=9.0))
WITH_SHAPE = (
    dict(vocab_size=32), dict(num_layers=3), dict(d_model=20),
    dict(num_heads=6), dict(num_kv_heads=1), dict(head_dim=6), dict(d_ff=20),
    dict(tie_embeddings=False), dict(smear=2), dict(scan_layers=True),
    dict(param_dtype='bfloat16'), dict(qkv_bias=True), dict(qk_norm=True),
    dict(num_experts=4, experts_per_token=2), dict(post_norm=True))


@pytest.mark.parametrize('base, change', [
    *((CONFIG, change) for change in WITHOUT_SHAPE),
    (MOE, dict(activation='gelu_tanh')),
    *((WINDOWED, change) for change in OF_WINDOWS)])
def test_each_field_without_a_shape_has_an_effect(base, change):
  config, params = dataclasses.replace(base, **change), params_of(base)
  gap = np.abs(forward(config, params, ids()) - forward(base, params, ids()))
  assert 1e-3 < gap.max() < 1e3


def test_each_field_with_a_shape_has_an_effect():
  def shapes(**change):
    config = dataclasses.replace(CONFIG, **change)
    tree = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  for change in WITH_SHAPE:
    assert shapes(**change) != shapes(), change


def test_no_field_is_left_out():
  held = {name for change in WITHOUT_SHAPE + OF_WINDOWS + WITH_SHAPE
          for name in change}
  # Of data and engine; of memory alone; of moe_test; of kernels_test.
  elsewhere = {'max_length', 'remat', 'norm_topk', 'router_aux_coef',
               'attention', 'experts'}
  assert held | elsewhere == {x.name for x in dataclasses.fields(CONFIG)}


@pytest.mark.parametrize('change', [
    dict(qkv_bias=True), dict(qk_norm=True, post_norm=True)])
def test_each_new_parameter_is_used(change):
  config = dataclasses.replace(CONFIG, **change)
  params = params_of(config)
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path)
    if leaf.ndim == 1 or 'bias' in name:
      moved = jax.tree_util.tree_map_with_path(
          lambda p, x, path=path: x + (p == path), params)
      gap = np.abs(forward(config, moved, ids())
                   - forward(config, params, ids()))
      assert gap.max() > 1e-3, name


def test_untied_head_is_used():
  config = dataclasses.replace(CONFIG, tie_embeddings=False)
  params = params_of(config)
  moved = {**params, 'head': params['head'].at[3].add(1.0)}
  gap_V = np.abs(forward(config, moved, ids())
                 - forward(config, params, ids())).max((0, 1))
  assert gap_V[3] > 0.01 and gap_V[[0, 1, 2]].max() == 0


def test_a_fresh_smeared_model_repeats_what_it_has_seen():
  config = model_config.ModelConfig(200, 2, 64, 4, 1, 32, 64, 128, smear=2,
                                    rope_theta=1e6)
  half = np.random.default_rng(0).permutation(200)[None, :24]
  tokens = np.concatenate([half, half], 1)

  def share(config):
    """How often the true next token is among the five likeliest of 200."""
    params = jax.jit(functools.partial(transformer.init, config))(
        jax.random.key(0))
    out = forward(config, params, tokens)[0, 24:-1]
    best = np.argsort(out)[:, -5:]
    return np.mean([t in row for t, row in zip(tokens[0, 25:], best)])
  assert share(config) > 0.35
  assert share(dataclasses.replace(config, smear=0)) < 0.2
