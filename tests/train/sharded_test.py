"""Adapters, masters and factored moments over eight devices and on one."""

import os
import subprocess
import sys

import jax
import pytest

from agentrl import sharding

# In a process of its own, because the number of devices is fixed at start.
PROGRAM = '''
import functools
import jax, numpy as np
from agentrl import sharding
from agentrl.models import config, transformer
from agentrl.sft import likelihood
from agentrl.train import loop, optimizer, tuning

rng = np.random.default_rng(0)
batch = {'ids_BT': rng.integers(1, 32, (16, 8)),
         'positions_BT': np.tile(np.arange(8), (16, 1)),
         'segments_BT': np.ones((16, 8), int),
         'target_BT': rng.random((16, 8)) < 0.5}
KW = dict(peak_lr=0.01, norm_lr=1.0, warmup_steps=0, total_steps=10,
          schedule='constant', clip_norm=1.0, master=False)
KINDS = {
    'lora': (dict(), dict(rank=4, alpha=8.0, targets='kernel$'),
             dict(name='adamw', b1=0.9, b2=0.9, weight_decay=0.1)),
    'lora beside experts': (
        dict(qk_norm=True, num_experts=4, experts_per_token=2, norm_topk=True,
             router_aux_coef=0.5), dict(
                 rank=4, alpha=8.0, targets='attention/.*kernel$'),
        dict(name='adamw', b1=0.9, b2=0.9, weight_decay=0.1)),
    'adafactor': (dict(param_dtype='bfloat16'), dict(
        rank=0, alpha=8.0, targets=''),
                  dict(name='adafactor', master=True,
                       min_dim_size_to_factor=8))}

def run(kind, axes):
  fields, lora, own = KINDS[kind]
  model = config.ModelConfig(32, 3, 16, 4, 4, 8, 32, 16, scan_layers=True,
                             **fields)
  mesh = sharding.make_mesh(axes)
  partition = tuning.make(jax.random.key(1), **lora)
  make = functools.partial(transformer.init, model, jax.random.key(0))
  training = loop.make(
      make, functools.partial(likelihood.next_token, model=model),
      optimizer.make(**KW | own), mesh=mesh, micro_rows=8,
      partition=partition)
  shardings = sharding.shardings(jax.eval_shape(make), mesh)
  params = jax.jit(make, out_shardings=shardings)()
  state, frozen = training.init(params), partition.frozen(params)
  for _ in range(3):
    state, metrics = training.update(state, batch, frozen)
  for want, leaf in zip(jax.tree.leaves(training.abstract_state),
                        jax.tree.leaves(state)):
    assert leaf.sharding == want.sharding, (leaf.sharding, want.sharding)
  merged = partition.merge(state.params, frozen)
  assert jax.tree.all(jax.tree.map(
      lambda x, want: x.sharding.is_equivalent_to(want, x.ndim),
      merged, shardings))
  split = sum(not x.sharding.is_fully_replicated
              for x in jax.tree.leaves(state.params))
  return split, loop.to_floats(metrics), jax.device_get(merged)

for kind in KINDS:
  _, metrics, params = run(kind, dict(data=1, fsdp=1, tensor=1))
  for axes in (dict(data=2, fsdp=2, tensor=2), dict(data=1, fsdp=2, tensor=4),
               dict(data=1, fsdp=2, tensor=2, expert=2)):
    split, other, moved = run(kind, axes)
    assert split > 3, (kind, split)
    for name in metrics:
      np.testing.assert_allclose(other[name], metrics[name], rtol=2e-3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        np.float32(a), np.float32(b), rtol=1e-2, atol=1e-4), params, moved)
print('same')
'''


@pytest.mark.slow
def test_every_mesh_gives_the_update_of_one_device():
  env = {**os.environ, 'JAX_PLATFORMS': 'cpu',
         # Compilation takes most of the time here.
         'XLA_FLAGS': '--xla_force_host_platform_device_count=8 '
                      '--xla_backend_optimization_level=0'}
  process = subprocess.run([sys.executable, '-c', PROGRAM], env=env,
                         capture_output=True, text=True, check=False)
  assert process.stdout.strip() == 'same', process.stderr[-3000:]


def test_rules_know_adapters_and_factored_moments():
  shape = lambda *s: jax.ShapeDtypeStruct(s, 'float32')
  tree = {'mu': {'qkv': {'lora_a': shape(3, 8, 2), 'lora_b': shape(3, 2, 4, 5)},
                 'up': {'lora_a': shape(8, 2, 2), 'lora_b': shape(2, 2, 6)},
                 'down': {'lora_a': shape(6, 2), 'lora_b': shape(2, 8)}},
          'v_row': {'down': {'kernel': shape(3, 6)}},  # of [3, 6, 8]
          'v_col': {'qkv': {'kernel': shape(1)}}}
  mesh = jax.sharding.AbstractMesh((1, 2, 2, 1), sharding.AXES)
  specs = jax.tree.map(lambda place: tuple(place.spec),
                       sharding.shardings(tree, mesh))
  assert specs['mu'] == {
      'qkv': {'lora_a': (None, 'fsdp', None),
              'lora_b': (None, None, 'tensor', None)},
      'up': {'lora_a': ('fsdp', None, None),
             'lora_b': (None, None, 'tensor')},
      'down': {'lora_a': ('tensor', None), 'lora_b': (None, 'fsdp')}}
  assert not any(any(spec) for name in ('v_row', 'v_col')
                 for spec in jax.tree.leaves(
                     specs[name], is_leaf=lambda x: isinstance(x, tuple)))
