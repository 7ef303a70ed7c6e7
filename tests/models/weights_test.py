"""Weights come back as they were, and what is wrong is named at once."""

import dataclasses
import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import families
from agentrl.models import layouts
from agentrl.models import weights

pytest.importorskip('safetensors')

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=2, d_model=16, num_heads=4, num_kv_heads=2,
    head_dim=8, d_ff=24, max_length=32, tie_embeddings=False)
MOE = dict(qk_norm=True, num_experts=4, experts_per_token=2)


def params_of(config):
  """Parameters of which no two are equal."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype),
      layouts.shapes(config))


def assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize('change', [
    {}, dict(qkv_bias=True, scan_layers=True, tie_embeddings=True),
    dict(qk_norm=True, param_dtype='bfloat16', scan_layers=True),
    dict(MOE, norm_topk=True), dict(MOE, scan_layers=True)])
@pytest.mark.parametrize('shard_bytes', [1 << 20, 3000])
def test_read_is_what_was_written(tmp_path, change, shard_bytes):
  config = dataclasses.replace(CONFIG, **change)
  params = params_of(config)
  weights.write(tmp_path / 'x', config, params, shard_bytes=shard_bytes)
  index = tmp_path / 'x/model.safetensors.index.json'
  assert index.exists() == (shard_bytes < 1 << 20)
  own = dict(param_dtype=config.param_dtype, scan_layers=config.scan_layers)
  found, back = weights.read(tmp_path / 'x', **own)
  assert found == config
  assert_equal(back, params)
  assert weights.read_config(tmp_path / 'x', **own) == config


def test_scanned_is_unrolled_stacked(tmp_path):
  params = params_of(CONFIG)
  weights.write(tmp_path / 'x', CONFIG, params)
  _, stacked = weights.read(tmp_path / 'x', scan_layers=True)
  for i in range(2):
    assert_equal(jax.tree.map(lambda x, i=i: x[i], stacked['layers']),
                 params[f'layers_{i}'])


def test_fields_for_other_libraries_are_kept(tmp_path):
  weights.write(tmp_path / 'x', CONFIG, params_of(CONFIG),
                fields=dict(eos_token_id=7))
  assert json.loads((tmp_path / 'x/config.json').read_text())[
      'eos_token_id'] == 7
  with pytest.raises(ValueError, match='exists: delete it'):
    weights.write(tmp_path / 'x', CONFIG, params_of(CONFIG))


def test_a_write_that_fails_leaves_no_model(tmp_path, monkeypatch):
  def full(*args, **kwargs):
    raise OSError('No space left on device')
  monkeypatch.setattr('safetensors.numpy.save_file', full)
  with pytest.raises(OSError, match='No space'):
    weights.write(tmp_path / 'x', CONFIG, params_of(CONFIG))
  assert not (tmp_path / 'x').exists()


def test_all_that_is_wrong_is_named_at_once(tmp_path, monkeypatch):
  from safetensors import numpy as safe
  weights.write(tmp_path / 'x', CONFIG, params_of(CONFIG))
  path = tmp_path / 'x/model.safetensors'
  tensors = safe.load_file(path)
  del tensors['model.layers.1.mlp.up_proj.weight']
  del tensors['lm_head.weight']
  tensors['model.norm.weight'] = np.zeros(17, np.float32)
  tensors['adapter.weight'] = np.zeros(3, np.float32)
  tensors['model.layers.0.self_attn.rotary_emb.inv_freq'] = np.zeros(4)
  safe.save_file(tensors, path)
  monkeypatch.setattr(weights, '_put', None)  # nothing may be read
  with pytest.raises(ValueError) as error:
    weights.read(tmp_path / 'x')
  words = str(error.value)
  for part in ('2 missing (lm_head.weight; model.layers.1.mlp.up_proj.weight)',
               '1 unused (adapter.weight)', 'get all files of the model again',
               '1 of another shape (model.norm.weight has (17,), needs (16,))',
               'correct the sizes'):
    assert part in words, part
  assert 'inv_freq' not in words


@pytest.mark.parametrize('tied, words', [
    (True, 'unused.*set tie_word_embeddings to false'),
    (False, 'missing.*set tie_word_embeddings to true')])
def test_a_head_that_is_or_is_not_tied(tmp_path, tied, words):
  config = dataclasses.replace(CONFIG, tie_embeddings=not tied)
  weights.write(tmp_path / 'x', config, params_of(config),
                fields=dict(tie_word_embeddings=tied))
  with pytest.raises(ValueError, match=words):
    weights.read(tmp_path / 'x')


def test_types_that_are_not_read_are_named(tmp_path):
  from safetensors import numpy as safe
  weights.write(tmp_path / 'x', CONFIG, params_of(CONFIG))
  path = tmp_path / 'x/model.safetensors'
  names = 'lm_head.weight', 'model.norm.weight'
  tensors = safe.load_file(path)
  safe.save_file(tensors | {name: tensors[name].astype(np.int8)
                            for name in names}, path)
  with pytest.raises(ValueError, match=(
      r'types that are not read: lm_head.weight \(I8\), model.norm.*BF16')):
    weights.read_config(tmp_path / 'x')


def test_files_that_cannot_be_read(tmp_path):
  with pytest.raises(ValueError, match='No weights at .*give a folder'):
    weights.read(tmp_path / 'none')
  weights.write(tmp_path / 'x', CONFIG, params_of(CONFIG), shard_bytes=3000)
  first, second, *_ = sorted((tmp_path / 'x').glob('*.safetensors'))
  data = first.read_bytes()
  first.write_bytes(data[:-5])
  with pytest.raises(ValueError, match='00001-of-.*truncated.*get it again'):
    weights.read(tmp_path / 'x')
  first.write_bytes(data)
  index = tmp_path / 'x/model.safetensors.index.json'
  text = index.read_text()
  index.write_text('{}')
  with pytest.raises(ValueError, match='has no weight_map.*get it again'):
    weights.read(tmp_path / 'x')
  index.write_text(text)
  second.unlink()
  with pytest.raises(ValueError, match='lacks model-00002-of-'):
    weights.read(tmp_path / 'x')


def test_parameters_lie_where_they_were_asked_to(tmp_path):
  weights.write(tmp_path / 'x', CONFIG, params_of(CONFIG))
  mesh = sharding.make_mesh(dict.fromkeys(sharding.AXES, 1))
  for scan in (False, True):
    config, params = weights.read(
        tmp_path / 'x', functools.partial(sharding.shardings, mesh=mesh),
        scan_layers=scan)
    want = sharding.shardings(layouts.shapes(config), mesh)
    jax.tree.map(lambda x, place: x.sharding == place or pytest.fail(str(x)),
                 params, want)
    _, plain = weights.read(tmp_path / 'x', scan_layers=scan)
    assert_equal(params, plain)


def test_biases_are_split_by_heads_and_norms_of_heads_are_not():
  mesh = jax.sharding.AbstractMesh((1, 1, 2, 1), sharding.AXES)
  P = jax.sharding.PartitionSpec
  for scan, path, more in ((False, 'layers_0', ()), (True, 'layers', (None,))):
    config = dataclasses.replace(CONFIG, vocab_size=32, qkv_bias=True,
                                 qk_norm=True, scan_layers=scan)
    found = layouts.flat(sharding.shardings(layouts.shapes(config), mesh))
    attention = f'{path}/attention'
    assert found[f'{attention}/qkv/bias'].spec == P(*more, 'tensor', None)
    assert found[f'{attention}/q_norm/scale'].is_fully_replicated


# In a process of its own, because the number of devices is fixed at start.
PROGRAM = '''
import functools, sys
import jax, numpy as np
from agentrl import sharding
from agentrl.models import weights
for scan in (False, True):
  _, want = weights.read(sys.argv[1], scan_layers=scan)
  for sizes in ((8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 2, 2, 2), (1, 1, 2, 4)):
    mesh = sharding.make_mesh(dict(zip(sharding.AXES, sizes)))
    of = functools.partial(sharding.shardings, mesh=mesh)
    _, params = weights.read(sys.argv[1], of, scan_layers=scan)
    for x, y, place in zip(*map(jax.tree.leaves, (params, want, of(want)))):
      assert x.sharding == place, (x.sharding, place)
      np.testing.assert_array_equal(x, y)
print('same')
'''


@pytest.mark.slow
@pytest.mark.parametrize('kind', families.FAMILIES)
def test_read_onto_eight_devices(tmp_path, kind):
  family = families.FAMILIES[kind]
  config = dataclasses.replace(CONFIG, vocab_size=32, **(
      family.fixed | (MOE if family.experts else {})))
  assert families.family_of(config) == kind
  weights.write(tmp_path / 'x', config, params_of(config))
  flags = dict(JAX_PLATFORMS='cpu',
               XLA_FLAGS='--xla_force_host_platform_device_count=8 '
                         '--xla_backend_optimization_level=0')
  found = subprocess.run(
      [sys.executable, '-c', PROGRAM, str(tmp_path / 'x')], check=False,
      env=os.environ | flags, capture_output=True, text=True)
  assert found.stdout.strip() == 'same', found.stderr[-3000:]
