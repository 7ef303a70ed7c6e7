"""Weights come back from GGUF files, and what is wrong is named at once."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import attention
from agentrl.models import config as model_config
from agentrl.models import gguf_names
from agentrl.models import layouts
from agentrl.models import transformer
from agentrl.models import weights

gguf = pytest.importorskip('gguf')

WIDE = model_config.ModelConfig(
    vocab_size=5, num_layers=1, d_model=256, num_heads=2, num_kv_heads=1,
    head_dim=128, d_ff=256, max_length=32, rope_theta=500.0, norm_eps=0.25)
WIDE_MOE = dataclasses.replace(WIDE, qk_norm=True, num_experts=3,
                               experts_per_token=2, norm_topk=True)
GGUF_NAMES = {
    'model.embed_tokens': 'token_embd', 'model.norm': 'output_norm',
    'input_layernorm': 'attn_norm', 'self_attn.q_proj': 'attn_q',
    'self_attn.k_proj': 'attn_k', 'self_attn.v_proj': 'attn_v',
    'self_attn.o_proj': 'attn_output', 'post_attention_layernorm': 'ffn_norm',
    'mlp.gate': 'ffn_gate_inp', 'mlp.experts.gate_proj': 'ffn_gate_exps',
    'mlp.experts.up_proj': 'ffn_up_exps',
    'mlp.experts.down_proj': 'ffn_down_exps',
    'mlp.gate_proj': 'ffn_gate', 'mlp.up_proj': 'ffn_up',
    'mlp.down_proj': 'ffn_down', 'self_attn.q_norm': 'attn_q_norm',
    'self_attn.k_norm': 'attn_k_norm'}
GEMMA_NAMES = {
    **GGUF_NAMES, 'post_attention_layernorm': 'post_attention_norm',
    'pre_feedforward_layernorm': 'ffn_norm',
    'post_feedforward_layernorm': 'post_ffw_norm'}


def interleaved(x, size=WIDE.head_dim):
  """Rows of each head with the two of a rotary pair side by side."""
  order = [head * size + half * size // 2 + pair
           for head in range(len(x) // size) for pair in range(size // 2)
           for half in range(2)]
  return x[order]


def quantised(x, kind, rng):
  """(bytes of a type, what they stand for)."""
  if x.ndim == 1:
    return x, x, gguf.GGMLQuantizationType.F32
  kind = gguf.GGMLQuantizationType[kind]
  if not kind.name.endswith('_K'):
    data = gguf.quantize(x, kind)
    return data, gguf.dequantize(data, kind), kind
  # The package cannot make these, but any bytes with small scales are some.
  block, size = gguf.GGML_QUANT_SIZES[kind]
  data = rng.integers(0, 256, (len(x), x.shape[1] // block, size), np.uint8)
  scale = np.full(1, 0.01, np.float16).view(np.uint8)
  data[..., -2:] = scale
  data[..., :4] = np.concatenate([scale, scale])
  data = data.reshape(len(x), -1)
  return data, gguf.dequantize(data, kind), kind


def write_gguf(path, config, kind, arch='llama'):
  """A random model as a GGUF file; returns its tensors by their HF names."""
  writer, want = gguf.GGUFWriter(path, arch), {}
  writer.add_block_count(config.num_layers)
  writer.add_embedding_length(config.d_model)
  writer.add_feed_forward_length(config.d_ff)
  writer.add_head_count(config.num_heads)
  writer.add_head_count_kv(config.num_kv_heads)
  writer.add_key_length(config.head_dim)
  writer.add_vocab_size(config.vocab_size)
  writer.add_context_length(config.max_length)
  writer.add_rope_freq_base(config.rope_theta)
  writer.add_layer_norm_rms_eps(config.norm_eps)
  if config.num_experts:
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.experts_per_token)
    writer.add_expert_feed_forward_length(config.d_ff)
  if config.window:
    writer.add_sliding_window(config.window)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(config.rope_scaling.factor)
  rng = np.random.default_rng(0)
  stacks = {}
  for piece in layouts.param_slices(config):
    for name, shape in piece.theirs.items():
      data, value, of = quantised(
          rng.normal(size=shape).astype(np.float32), kind, rng)
      if arch == 'llama' and ('q_proj' in name or 'k_proj' in name):
        data = interleaved(data)
      if arch == 'gemma3' and 'norm' in name:
        data = data + 1
      layer = re.match(r'model.layers.(\d+).', name)
      block = f'blk.{layer[1]}.' if layer else ''
      stem, last = re.sub(r'(?<=experts)\.\d', '', name[
          layer.end() if layer else 0:]).rsplit('.', 1)
      theirs = (GEMMA_NAMES if arch == 'gemma3' else GGUF_NAMES)[stem]
      stacks.setdefault((f'{block}{theirs}.{last}', of), []).append(data)
      want[name] = value
  for (name, of), each in stacks.items():
    writer.add_tensor(name, np.stack(each) if 'exps' in name else each[0],
                      raw_dtype=of)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return want


@pytest.mark.parametrize('kind, arch', [
    *((kind, 'llama') for kind in weights.GGUF_TYPES), ('Q8_0', 'qwen3moe')])
def test_gguf_of_each_type(tmp_path, kind, arch):
  shape = WIDE if arch == 'llama' else WIDE_MOE
  want = write_gguf(tmp_path / 'x.gguf', shape, kind, arch)
  config, params = weights.read(tmp_path / 'x.gguf')
  assert config == shape
  leaves = layouts.flat(params)
  for piece in layouts.param_slices(config):
    parts = piece.layout.split(config, np.asarray(leaves[piece.path][piece.at]))
    for name, x in zip(piece.theirs, parts):
      assert np.isfinite(x).all() and np.ptp(x) > 0
      np.testing.assert_array_equal(x, want[name], err_msg=name)


def test_gguf_of_other_families_is_not_interleaved(tmp_path):
  config = dataclasses.replace(WIDE, qk_norm=True)
  want = write_gguf(tmp_path / 'x.gguf', config, 'F32', 'qwen3')
  found, params = weights.read(tmp_path / 'x.gguf')
  assert found == config
  q_HM = params['layers_0']['attention']['qkv']['kernel'][:, :2].reshape(
      256, 256).T
  np.testing.assert_array_equal(q_HM, want[
      'model.layers.0.self_attn.q_proj.weight'])


def test_what_is_wrong_in_a_gguf_file_is_said_of_it(tmp_path, monkeypatch):
  write_gguf(tmp_path / 'x.gguf', WIDE, 'F32')
  fields_of = gguf_names.fields_of
  for change, words in (
      (dict(num_hidden_layers=2), r'9 missing \(model.layers.1.*get the file'),
      (dict(intermediate_size=8), '3 of another shape .*get another file'),
      (dict(num_hidden_layers=None), 'metadata of x.gguf lacks num_hidden_la'),
      (dict(model_type='mamba'), "'mamba' .model_type of the metadata of x.g")):
    monkeypatch.setattr(gguf_names, 'fields_of', lambda *args, change=change:
                        fields_of(*args) | change)
    with pytest.raises(ValueError, match=words) as error:
      weights.read(tmp_path / 'x.gguf')
    assert 'config.json' not in str(error.value)


def test_one_part_of_a_gguf_model_is_refused(tmp_path):
  writer = gguf.GGUFWriter(tmp_path / 'x.gguf', 'llama')
  writer.add_uint16('split.count', 3)
  writer.add_tensor('token_embd.weight', np.zeros((5, 8), np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  with pytest.raises(ValueError, match='one of 3 parts of a model: merge'):
    weights.read(tmp_path / 'x.gguf')


def test_gguf_types_that_are_not_read_are_named(tmp_path):
  write_gguf(tmp_path / 'x.gguf', WIDE, 'Q5_0')
  with pytest.raises(ValueError, match=r'token_embd.weight \(Q5_0\).*Q4_1'):
    weights.read(tmp_path / 'x.gguf')


GEMMA = dataclasses.replace(
    WIDE, num_layers=7, d_model=64, head_dim=256, d_ff=96, rope_theta=900.0,
    window=4, global_every=6, rope_scaling=model_config.RopeScaling(8.0),
    qk_norm=True, post_norm=True, zero_centered_norm=True,
    activation='gelu_tanh', scale_embeddings=True)


def test_gguf_of_gemma_3_is_what_transformers_reads(tmp_path):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers', minversion='5')
  pytest.importorskip('accelerate')
  want = write_gguf(tmp_path / 'x.gguf', GEMMA, 'Q8_0', 'gemma3')
  config, params = weights.read(tmp_path / 'x.gguf', scan_layers=True)
  assert config == dataclasses.replace(GEMMA, scan_layers=True)
  np.testing.assert_allclose(
      params['layers']['attention_post_norm']['scale'][3],
      want['model.layers.3.post_attention_layernorm.weight'], atol=1e-6)
  model = transformers.AutoModelForCausalLM.from_pretrained(
      tmp_path, gguf_file='x.gguf', dtype=torch.float32).eval()
  # It leaves the scaling out, as it reads no such field.
  plain = dataclasses.replace(config, rope_scaling=None)
  ids = np.arange(12)[None] % WIDE.vocab_size
  with torch.no_grad():
    theirs = model(torch.tensor(ids)).logits.numpy()
  ours = jax.jit(lambda params: transformer.logits(
      plain, params, transformer.hidden(plain, params, ids,
                                        np.arange(12)[None])[0]))(params)
  np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_gguf_of_the_largest_gemma_3_has_its_own_scalar():
  fields = gguf_names.fields_of(
      {'general.architecture': 'gemma3', 'gemma3.block_count': 62,
       'gemma3.attention.key_length': 128},
      {'model.embed_tokens.weight': (7, 8)})
  assert fields['query_pre_attn_scalar'] == 168


def test_gguf_that_is_cut_off_or_newer_names_the_tensor(tmp_path):
  path = tmp_path / 'x.gguf'
  path.write_bytes(b'GGUF\x03\0\0\0')
  with pytest.raises(ValueError, match='truncated, no GGUF file'):
    weights.read(path)
  write_gguf(path, WIDE, 'Q4_1')
  data = path.read_bytes()
  last = gguf.GGUFReader(path).tensors[-1]
  path.write_bytes(data[:int(last.data_offset) + 7])
  with pytest.raises(ValueError, match=rf'{last.name} \({last.tensor_type.name}'
                                       r'\) lies past its end.*get it again'):
    weights.read(path)
  at = int(last.field.offset + sum(
      x.nbytes for x in last.field.parts[:4]))  # name, dimensions; then type
  path.write_bytes(data[:at] + (999).to_bytes(4, 'little') + data[at + 4:])
  with pytest.raises(ValueError, match=f'{last.name} is of type 999, which'):
    weights.read(path)


def test_llama_3_scaling_from_its_tensor():
  fields = dict(rope_theta=5e5)
  rate = 5e5 ** (-np.arange(64) / 64)
  scaling = model_config.RopeScaling(32.0, 1.0, 4.0, 8192)
  freqs = rate / np.asarray(attention.stretch(jnp.asarray(rate), scaling))
  found = gguf_names.scaling_of(freqs, fields)
  assert found['factor'] == pytest.approx(32.0)
  with pytest.raises(ValueError, match='not the scaling of Llama 3'):
    gguf_names.scaling_of(freqs + np.arange(64) / 9, fields)
