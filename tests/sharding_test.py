"""Sharded over eight devices and not: the same loss, gradients and update."""

import json
import os
import subprocess
import sys

import jax
import pytest

from agentrl import sharding

MESHES = [dict(data=8, fsdp=1, tensor=1), dict(data=1, fsdp=8, tensor=1),
          dict(data=2, fsdp=2, tensor=2), dict(data=1, fsdp=2, tensor=4)]

# In a process of its own, because the number of devices is fixed at start.
PROGRAM = '''
import functools, json, sys
import jax, numpy as np, optax
from agentrl import sharding
from agentrl.models import config, transformer
from agentrl.sft import loss
from agentrl.train import loop

rng = np.random.default_rng(0)
batch = {'ids_BT': rng.integers(1, 32, (16, 8)),
         'positions_BT': np.tile(np.arange(8), (16, 1)),
         'segments_BT': np.ones((16, 8), int),
         'target_BT': rng.random((16, 8)) < 0.5}

def run(axes, scan, tie):
  model = config.ModelConfig(32, 2, 16, 4, 4, 8, 32, 16, scan_layers=scan,
                             tie_embeddings=tie)
  mesh = sharding.make_mesh(axes)
  first, like, update = loop.make(
      functools.partial(transformer.init, model, jax.random.key(0)),
      functools.partial(loss.next_token, model=model), optax.sgd(0.5),
      mesh=mesh, micro_rows=8)
  state = first()
  for want, leaf in zip(jax.tree.leaves(like), jax.tree.leaves(state)):
    assert leaf.sharding == want.sharding, (leaf.sharding, want.sharding)
  split = sum(not x.sharding.is_fully_replicated
              for x in jax.tree.leaves(state.params))
  state, metrics = update(state, batch)
  return split, loop.to_floats(metrics), jax.device_get(state.params)

mesh = sharding.make_mesh(dict(data=2, fsdp=2, tensor=2))
part = sharding.replica(mesh)
assert dict(part.shape) == dict(data=1, fsdp=2, tensor=2)
assert (part.devices == mesh.devices[0]).all()

for scan, tie in ((False, True), (True, False)):
  _, metrics, params = run(dict(data=1, fsdp=1, tensor=1), scan, tie)
  for axes in json.loads(sys.argv[1]):
    split, other, moved = run(axes, scan, tie)
    assert (split > 0) == (axes['data'] < 8), axes
    for name in metrics:
      np.testing.assert_allclose(other[name], metrics[name], rtol=2e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, atol=2e-5), params, moved)
print('same')
'''


@pytest.mark.slow
def test_every_mesh_gives_the_update_of_one_device():
  env = {**os.environ, 'JAX_PLATFORMS': 'cpu',
         'XLA_FLAGS': '--xla_force_host_platform_device_count=8'}
  found = subprocess.run([sys.executable, '-c', PROGRAM, json.dumps(MESHES)],
                         env=env, capture_output=True, text=True, check=False)
  assert found.stdout.strip() == 'same', found.stderr[-3000:]


def mesh(**sizes):
  devices = jax.sharding.AbstractMesh(
      tuple({**dict.fromkeys(sharding.AXES, 1), **sizes}.values()),
      sharding.AXES)
  return devices


def test_rules_follow_the_paths_of_optimiser_state_too():
  shape = lambda *s: jax.ShapeDtypeStruct(s, 'float32')
  tree = {'mu': {'layers': {'mlp': {'down': {'kernel': shape(3, 8, 4)}}}},
          'embed': shape(8, 4), 'count': shape()}
  found = sharding.shardings(tree, mesh(fsdp=2, tensor=2))
  P = jax.sharding.PartitionSpec
  assert found['mu']['layers']['mlp']['down']['kernel'].spec == P(
      None, 'tensor', 'fsdp')
  assert found['embed'].spec == P('tensor', 'fsdp')
  assert found['count'].spec == P()


def test_sizes_that_do_not_divide_are_refused():
  tree = {'embed': jax.ShapeDtypeStruct((9, 4), 'float32')}
  with pytest.raises(ValueError, match="embed .*9, 4.*'tensor' of 2"):
    sharding.shardings(tree, mesh(tensor=2))
  with pytest.raises(ValueError, match='needs 16 devices, but there are 1'):
    sharding.make_mesh(dict(data=4, fsdp=4, tensor=1))
  with pytest.raises(ValueError, match='must give data, fsdp, tensor'):
    sharding.make_mesh(dict(data=1))
  with pytest.raises(ValueError, match='micro_rows=3 .* 2 devices'):
    sharding.batch(mesh(data=2), 3)
