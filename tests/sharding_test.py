"""Sharded over eight devices and not: the same loss, gradients and update."""

import json
import os
import subprocess
import sys

import jax
import pytest

from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import families

MESHES = [dict(data=8), dict(fsdp=8), dict(data=2, fsdp=2, tensor=2),
          dict(fsdp=2, tensor=4), dict(expert=8), dict(data=4, expert=2),
          dict(fsdp=2, expert=4), dict(tensor=2, expert=2),
          dict(fsdp=2, tensor=2, expert=2)]
SHAPES = {
    'llama': dict(tie_embeddings=False), 'qwen2': dict(qkv_bias=True),
    'qwen3': dict(qk_norm=True, scan_layers=True, tie_embeddings=False),
    'qwen3_moe': dict(qk_norm=True, num_experts=8, experts_per_token=3,
                      norm_topk=True, router_aux_coef=0.5),
    'qwen3_moe, scanned': dict(
        qk_norm=True, num_experts=8, experts_per_token=2, scan_layers=True,
        remat='full'),
    'gemma3_text': dict(
        qk_norm=True, activation='gelu_tanh', post_norm=True,
        zero_centered_norm=True, scale_embeddings=True, scan_layers=True,
        window=3, global_every=2, local_rope_theta=50.0,
        query_pre_attn_scalar=8.0)}

# In a process of its own, because the number of devices is fixed at start.
PROGRAM = '''
import functools, json, sys
import jax, jax.numpy as jnp, numpy as np, optax
from agentrl import sharding
from agentrl.models import cache as cache_lib, config, transformer
from agentrl.rollout import device
from agentrl.sft import likelihood
from agentrl.train import loop

rng = np.random.default_rng(0)
real_BT = np.arange(8) < rng.integers(4, 9, (16, 1))
batch = {'ids_BT': rng.integers(1, 32, (16, 8)),
         'positions_BT': np.tile(np.arange(8), (16, 1)),
         'segments_BT': real_BT.astype(int),
         'target_BT': real_BT & (rng.random((16, 8)) < 0.5)}
ONE = dict.fromkeys(sharding.AXES, 1)

def make(model):
  """Random parameters, far from their quiet start."""
  shapes = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: 0.3 * rng.normal(size=x.shape).astype('float32'), shapes)

def update(axes, model):
  mesh = sharding.make_mesh(axes)
  training = loop.make(
      lambda: jax.tree.map(jnp.asarray, make(model)),
      functools.partial(likelihood.next_token, model=model), optax.sgd(0.5),
      mesh=mesh, micro_rows=8)
  state = training.init(None)
  for want, leaf in zip(jax.tree.leaves(training.abstract_state),
                        jax.tree.leaves(state)):
    assert leaf.sharding == want.sharding, (leaf.sharding, want.sharding)
  split = sum(not x.sharding.is_fully_replicated
              for x in jax.tree.leaves(state.params))
  state, metrics = training.update(state, batch)
  return split, loop.to_floats(metrics), jax.device_get(state.params)

def sample(axes, model):
  """Returns the cache, ids and log-probabilities of a sampler."""
  mesh = sharding.replica(sharding.make_mesh(axes))
  params = make(model)
  params = jax.device_put(params, sharding.shardings(params, mesh))
  cache = cache_lib.empty(model, 6, 16)
  spec = device.EngineSpec(model, burst=4, stop_id=1, pad_id=0,
                    shardings=device.cache_shardings(cache, params))
  cache = jax.device_put(cache, spec.shardings)
  n = np.array([0, 1, 2, 6]), np.arange(4), np.zeros(4, int), np.array(
      [5, 3, 4, 0])  # the last row is none
  rows = device.SlotRows(*(x.astype(np.int32) for x in n))
  cache = device.prefill(params, cache, rows, batch['ids_BT'][:4, :5],
                        spec=spec, span=16)
  rows = rows._replace(start_B=rows.count_B, count_B=np.array([4, 2, 4, 0]))
  out = device.decode(params, cache, rows, batch['ids_BT'][:4, 5],
                     np.float32(1), spec=spec, span=16)
  return jax.device_get(out)

def near(a, b, tol):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tol), a, b)

meshes, shapes = map(json.loads, sys.argv[1:])
for name, fields in shapes.items():
  model = config.ModelConfig(32, 2, 16, 8, 4, 4, 24, 16, **fields)
  _, metrics, params = update(ONE, model)
  drawn = sample(ONE, model)
  for axes in meshes:
    axes = {**ONE, **axes}
    sharding.check(model, sharding.make_mesh(axes))
    split, other, moved = update(axes, model)
    parts = axes['fsdp'] * axes['tensor'] * (
        axes['expert'] if model.num_experts else 1)
    assert (split > 0) == (parts > 1), axes
    near(other, metrics, 1e-4)
    near(moved, params, 3e-5)
    if axes['expert'] == 2:
      near(sample(axes, model), drawn, 1e-4)
print('same')
'''


def assert_same(meshes, shapes):
  env = {**os.environ, 'JAX_PLATFORMS': 'cpu',
         # Compilation takes most of the time here.
         'XLA_FLAGS': '--xla_force_host_platform_device_count=8 '
                      '--xla_backend_optimization_level=0'}
  process = subprocess.run(
      [sys.executable, '-c', PROGRAM, json.dumps(meshes), json.dumps(shapes)],
      env=env, capture_output=True, text=True, check=False)
  assert process.stdout.strip() == 'same', process.stderr[-3000:]


@pytest.mark.slow
def test_experts_on_several_devices_are_those_of_one():
  assert_same([dict(tensor=2, expert=2)], {'moe': SHAPES['qwen3_moe, scanned']})


@pytest.mark.slow
@pytest.mark.parametrize('shape', SHAPES)
def test_every_mesh_gives_the_update_and_samples_of_one_device(shape):
  assert_same(MESHES, {shape: SHAPES[shape]})


def test_every_family_has_a_row():
  assert SHAPES.keys() >= families.FAMILIES.keys()


def mesh(**sizes):
  devices = jax.sharding.AbstractMesh(
      tuple({**dict.fromkeys(sharding.AXES, 1), **sizes}.values()),
      sharding.AXES)
  return devices


def test_rules_follow_the_paths_of_optimiser_state_too():
  shape = lambda *s: jax.ShapeDtypeStruct(s, 'float32')
  tree = {'mu': {'layers': {'mlp': {'down': {'kernel': shape(3, 8, 4)}}}},
          'embed': shape(8, 4), 'count': shape()}
  shardings = sharding.shardings(tree, mesh(fsdp=2, tensor=2))
  P = jax.sharding.PartitionSpec
  assert shardings['mu']['layers']['mlp']['down']['kernel'].spec == P(
      None, 'tensor', 'fsdp')
  assert shardings['embed'].spec == P('tensor', 'fsdp')
  assert shardings['count'].spec == P()


def test_sizes_that_do_not_divide_are_refused():
  tree = {'embed': jax.ShapeDtypeStruct((9, 4), 'float32')}
  with pytest.raises(ValueError, match="embed .*9, 4.*'tensor' of 2"):
    sharding.shardings(tree, mesh(tensor=2))
  with pytest.raises(ValueError, match='needs 16 devices, but there are 1'):
    sharding.make_mesh(dict(data=4, fsdp=4, tensor=1))
  with pytest.raises(ValueError, match='must give data, fsdp, tensor'):
    sharding.make_mesh(dict(data=1, expert=1))
  for axes in (dict(data=2), dict(expert=2)):
    with pytest.raises(ValueError, match='micro_rows=3 .* 2 devices'):
      sharding.batch(mesh(**axes), 3)


@pytest.mark.parametrize('axes, words', [
    (dict(tensor=3), r'mesh.tensor=3 does not divide num_heads=8 of '
                     r'config.user_model: set it to 1'),
    (dict(tensor=8), r'mesh.tensor=8 .*num_kv_heads=4 .* set it to 4'),
    (dict(expert=4), r'mesh.expert=4 .*num_experts=6 .* set it to 2')])
def test_a_mesh_that_does_not_divide_heads_or_experts_is_refused(axes, words):
  model = model_config.ModelConfig(32, 2, 16, 8, 4, 4, 24, 16, num_experts=6,
                                   experts_per_token=2)
  with pytest.raises(ValueError, match='^config.sampler_' + words):
    sharding.check(model, mesh(**axes), field='config.sampler_mesh',
                   name='config.user_model')
  sharding.check(model, mesh(tensor=4, expert=2))


def test_errors_name_the_field_that_gives_a_mesh():
  field = dict(field='config.sampler_mesh')
  with pytest.raises(ValueError, match='^config.sampler_mesh .*16 devices'):
    sharding.make_mesh(dict(data=16, fsdp=1, tensor=1), **field)
  for size in (0, -1, 2.0, '2'):
    with pytest.raises(ValueError, match=(
        r'^config.sampler_mesh.fsdp must be .* at least 1, got .*[012]')):
      sharding.make_mesh(dict(data=1, fsdp=size, tensor=1), **field)
