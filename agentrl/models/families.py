"""Families of published models: their config.json, their names of tensors.

The decoder is one; a family says which fields of `ModelConfig` it has set, and
what its tensors are called. A new one is a line of `FAMILIES`, and rows of
`NAMES` for parameters that no other family has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import re
from typing import Any, NamedTuple

import jax
import numpy as np

from agentrl import resolve
from agentrl.models import config as model_config
from agentrl.models import transformer

Config = model_config.ModelConfig


@dataclasses.dataclass(frozen=True)
class Family:
  """What all models of one `model_type` have in common.

  Attributes:
    architecture: class in `transformers`.
    head_dim: where config.json does not say; None: d_model / num_heads.
    qkv_bias, qk_norm: see `ModelConfig`.
  """

  architecture: str
  head_dim: int | None = None
  qkv_bias: bool = False
  qk_norm: bool = False


FAMILIES = {
    'llama': Family('LlamaForCausalLM'),
    'qwen2': Family('Qwen2ForCausalLM', qkv_bias=True),
    'qwen3': Family('Qwen3ForCausalLM', head_dim=128, qk_norm=True),
}

_SIZES = {  # field of ModelConfig: key of config.json
    'vocab_size': 'vocab_size', 'num_layers': 'num_hidden_layers',
    'd_model': 'hidden_size', 'num_heads': 'num_attention_heads',
    'd_ff': 'intermediate_size', 'max_length': 'max_position_embeddings',
    'norm_eps': 'rms_norm_eps'}
_SCALING = {'factor': 'factor', 'low': 'low_freq_factor',
            'high': 'high_freq_factor',
            'original_length': 'original_max_position_embeddings'}
_MUST_BE = {  # what the decoder does not know may only be switched off
    'hidden_act': 'silu', 'attention_bias': False, 'mlp_bias': False,
    'use_sliding_window': False, 'partial_rotary_factor': 1.0,
    'num_local_experts': 0, 'quantization_config': None}


def from_hf(fields: Mapping[str, Any], **changes: Any) -> Config:
  """The ModelConfig of a config.json of `transformers`.

  Args:
    fields: of config.json.
    **changes: fields of ModelConfig that it does not decide, or that shall be
      others: dtype, param_dtype (float32, whatever the file says), remat.

  Raises:
    ValueError: an unknown family, a missing field, or a kind of model that
      the decoder would not run exactly.
  """
  kind = fields.get('model_type')
  if kind not in FAMILIES:
    raise ValueError(f'No model family {kind!r} (model_type of config.json).'
                     + resolve.hint(kind, FAMILIES))
  family = FAMILIES[kind]
  for key, only in _MUST_BE.items():
    if (value := fields.get(key, only)) != only and value is not None:
      raise ValueError(f'config.json has {key}={value!r}, but the decoder '
                       f'computes {only!r} alone: choose other weights.')
  sizes = _taken(fields, _SIZES, 'config.json')
  rope_theta, scaling = _rope(fields)
  return model_config.make({
      **sizes, 'rope_theta': rope_theta, 'rope_scaling': scaling,
      'num_kv_heads': fields.get('num_key_value_heads') or sizes['num_heads'],
      'head_dim': (fields.get('head_dim') or family.head_dim
                   or sizes['d_model'] // sizes['num_heads']),
      'tie_embeddings': bool(fields.get('tie_word_embeddings', False)),
      'qkv_bias': family.qkv_bias, 'qk_norm': family.qk_norm, **changes})


def _taken(fields: Mapping[str, Any], keys: Mapping[str, str], where: str
           ) -> dict[str, Any]:
  absent = [key for key in keys.values() if fields.get(key) is None]
  if absent:
    raise ValueError(f'{where} lacks {", ".join(absent)}.')
  return {ours: fields[key] for ours, key in keys.items()}


def _rope(fields: Mapping[str, Any]
          ) -> tuple[float, model_config.RopeScaling | None]:
  """Base and scaling; `transformers` 5 keeps both in `rope_parameters`."""
  rope = {**(fields.get('rope_scaling') or {}),
          **(fields.get('rope_parameters') or {})}
  # The published Llama 1 and 2 do not name their base.
  theta = rope.get('rope_theta') or fields.get('rope_theta') or 10_000.0
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if kind == 'default':
    return float(theta), None
  if kind != 'llama3':
    raise ValueError(
        f"config.json scales its rotary embedding by {kind!r}; known are "
        "'default' and 'llama3'. Set rope_scaling to null to read the weights "
        'with the context they had before.')
  return float(theta), model_config.RopeScaling(
      **_taken(rope, _SCALING, 'rope_scaling of config.json'))


def family_of(config: Config) -> str:
  """The `model_type` whose models have this shape.

  Raises:
    ValueError: none has.
  """
  for kind, family in FAMILIES.items():
    same = (family.qkv_bias, family.qk_norm) == (config.qkv_bias,
                                                 config.qk_norm)
    if same and not config.smear:
      return kind
  raise ValueError(
      f'No published family has model.qkv_bias={config.qkv_bias}, '
      f'qk_norm={config.qk_norm} and smear={config.smear}: such a model can be '
      'kept as a bundle, but not written for other libraries.')


def to_hf(config: Config) -> dict[str, Any]:
  """config.json, which `transformers` 4 and 5 both read.

  Raises:
    ValueError: no family of `transformers` is this model.
  """
  kind = family_of(config)
  fields = {key: getattr(config, ours) for ours, key in _SIZES.items()}
  scaling = config.rope_scaling
  if scaling is not None:
    scaling = {'rope_type': 'llama3', **{
        key: getattr(scaling, ours) for ours, key in _SCALING.items()}}
  return {
      'architectures': [FAMILIES[kind].architecture], 'model_type': kind,
      **fields, 'num_key_value_heads': config.num_kv_heads,
      'head_dim': config.head_dim, 'hidden_act': 'silu',
      'rope_theta': config.rope_theta, 'rope_scaling': scaling,
      'attention_bias': False, 'use_sliding_window': False,
      'tie_word_embeddings': config.tie_embeddings,
      'torch_dtype': config.param_dtype}


class Layout(NamedTuple):
  """How one of our parameters is made of tensors, and taken apart.

  `join(config, tensors)` takes numpy arrays; `split(config, ours)` gives a
  list, and uses methods alone, so that it can be traced for its shapes.
  """

  join: Callable[[Config, Sequence[np.ndarray]], np.ndarray]
  split: Callable[[Config, Any], list[Any]]


def _heads(config: Config, x: np.ndarray) -> np.ndarray:
  return x.reshape(-1, config.head_dim, *x.shape[1:])


def _cut(config: Config, x_M: Any) -> tuple[Any, Any, Any]:
  """Heads of queries, of keys and of values."""
  q, k = config.num_heads, config.num_heads + config.num_kv_heads
  return x_M[:q], x_M[q:k], x_M[k:]


_PLAIN = Layout(lambda c, parts: parts[0], lambda c, x: [x])
# Theirs are [out, in].
_MATRIX = Layout(lambda c, parts: parts[0].T, lambda c, x: [x.T])
_HEADS_BIAS = Layout(
    lambda c, parts: np.concatenate([_heads(c, x) for x in parts]),
    lambda c, x_MH: [x.reshape(-1) for x in _cut(c, x_MH)])
_HEADS = Layout(
    lambda c, parts: np.concatenate(
        [_heads(c, x) for x in parts]).transpose(2, 0, 1),
    lambda c, x_DMH: [x.reshape(-1, x.shape[-1])
                      for x in _cut(c, x_DMH.transpose(1, 2, 0))])
_GATED = Layout(lambda c, parts: np.stack([x.T for x in parts], 1),
                lambda c, x_D2F: [x_D2F[:, 0].T, x_D2F[:, 1].T])

# Path of our parameter: how it is made, of which tensors. `layer/` stands for
# each layer, here and there.
NAMES: dict[str, tuple[Layout, tuple[str, ...]]] = {
    'embed': (_PLAIN, ('model.embed_tokens.weight',)),
    'head': (_PLAIN, ('lm_head.weight',)),
    'final_norm/scale': (_PLAIN, ('model.norm.weight',)),
    'layer/attention_norm/scale': (_PLAIN, ('layer/input_layernorm.weight',)),
    'layer/attention/qkv/kernel': (_HEADS, (
        'layer/self_attn.q_proj.weight', 'layer/self_attn.k_proj.weight',
        'layer/self_attn.v_proj.weight')),
    'layer/attention/qkv/bias': (_HEADS_BIAS, (
        'layer/self_attn.q_proj.bias', 'layer/self_attn.k_proj.bias',
        'layer/self_attn.v_proj.bias')),
    'layer/attention/q_norm/scale': (_PLAIN, (
        'layer/self_attn.q_norm.weight',)),
    'layer/attention/k_norm/scale': (_PLAIN, (
        'layer/self_attn.k_norm.weight',)),
    'layer/attention/out/kernel': (_MATRIX, ('layer/self_attn.o_proj.weight',)),
    'layer/mlp_norm/scale': (_PLAIN, (
        'layer/post_attention_layernorm.weight',)),
    'layer/mlp/up/kernel': (_GATED, (
        'layer/mlp.gate_proj.weight', 'layer/mlp.up_proj.weight')),
    'layer/mlp/down/kernel': (_MATRIX, ('layer/mlp.down_proj.weight',)),
}


class Piece(NamedTuple):
  """One of our parameters, or one layer of it where layers are scanned.

  Attributes:
    path: of the parameter, as `layers_0/mlp/down/kernel`.
    layer: which one of a scanned parameter; None: it is not scanned.
    shape: of the piece.
    layout: how it is made.
    theirs: shapes of the tensors it is made of, by name, in their order.
  """

  path: str
  layer: int | None
  shape: tuple[int, ...]
  layout: Layout
  theirs: dict[str, tuple[int, ...]]


def shapes(config: Config) -> Any:
  """Shapes of the parameters, as a tree."""
  return jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))


def pieces(config: Config) -> list[Piece]:
  """All that a model of this shape is made of; nothing is allocated.

  Raises:
    ValueError: a parameter that published models do not have.
  """
  found = []
  for path, leaf in flat(shapes(config)).items():
    inner = re.fullmatch(r'layers(?:_(\d+))?/(.*)', path)
    if inner is None:
      found.append(_piece(config, path, path, None, leaf))
    elif inner[1] is not None:
      found.append(_piece(config, path, f'layer/{inner[2]}', None, leaf,
                          int(inner[1])))
    else:
      one = jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
      found += [_piece(config, path, f'layer/{inner[2]}', i, one, i)
                for i in range(config.num_layers)]
  return found


def _piece(config: Config, path: str, row: str, layer: int | None,
           leaf: Any, number: int = 0) -> Piece:
  if row not in NAMES:
    raise ValueError(f'Published models have no parameter {path}: set '
                     'model.smear to 0.')
  layout, names = NAMES[row]
  split = jax.eval_shape(lambda x: layout.split(config, x), leaf)
  names = [x.replace('layer/', f'model.layers.{number}.') for x in names]
  return Piece(path, layer, leaf.shape, layout,
               {name: x.shape for name, x in zip(names, split)})


def flat(tree: Any) -> dict[str, Any]:
  """The leaves of a tree of parameters by their paths, in its order."""
  return {'/'.join(str(p.key) for p in path): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


# GGUF: the same tensors under other names.

_GGUF_TOP = {'token_embd': 'model.embed_tokens', 'output': 'lm_head',
             'output_norm': 'model.norm'}
_GGUF_LAYER = {
    'attn_norm': 'input_layernorm', 'attn_q': 'self_attn.q_proj',
    'attn_k': 'self_attn.k_proj', 'attn_v': 'self_attn.v_proj',
    'attn_output': 'self_attn.o_proj', 'attn_q_norm': 'self_attn.q_norm',
    'attn_k_norm': 'self_attn.k_norm', 'ffn_norm': 'post_attention_layernorm',
    'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj',
    'ffn_down': 'mlp.down_proj'}
_GGUF_FIELDS = {
    'hidden_size': 'embedding_length', 'num_hidden_layers': 'block_count',
    'num_attention_heads': 'attention.head_count',
    'num_key_value_heads': 'attention.head_count_kv',
    'head_dim': 'attention.key_length',
    'intermediate_size': 'feed_forward_length',
    'max_position_embeddings': 'context_length',
    'rope_theta': 'rope.freq_base',
    'rms_norm_eps': 'attention.layer_norm_rms_epsilon',
    'num_local_experts': 'expert_count'}
_INTERLEAVED = ('llama',)  # architectures whose rotary pairs lie side by side


def gguf_name(name: str) -> str:
  """The name in safetensors of a GGUF tensor; its own if it has none."""
  found = re.fullmatch(r'(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)', name)
  if found is None:
    return name
  number, stem, kind = found.groups()
  if number is None and stem in _GGUF_TOP:
    return f'{_GGUF_TOP[stem]}.{kind}'
  if number is not None and stem in _GGUF_LAYER:
    return f'model.layers.{number}.{_GGUF_LAYER[stem]}.{kind}'
  return name


def gguf_fields(metadata: Mapping[str, Any],
                shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
  """What config.json would say, from the metadata of a GGUF file.

  Args:
    metadata: values by key.
    shapes: of the tensors, by their names in safetensors.

  Raises:
    ValueError: it is not a language model's file.
  """
  kind = metadata.get('general.architecture')
  embed = shapes.get('model.embed_tokens.weight')
  if embed is None:
    raise ValueError('The GGUF file has no tensor token_embd.weight: it is no '
                     'language model, or a part of one.')
  fields = {key: metadata[f'{kind}.{theirs}']
            for key, theirs in _GGUF_FIELDS.items()
            if f'{kind}.{theirs}' in metadata}
  scaling = metadata.get(f'{kind}.rope.scaling.type', 'none')
  if scaling != 'none':
    fields['rope_scaling'] = {'rope_type': scaling}
  return {**fields, 'model_type': kind, 'vocab_size': embed[0],
          'tie_word_embeddings': 'lm_head.weight' not in shapes}


def gguf_scaling(freqs: np.ndarray, fields: Mapping[str, Any]
                 ) -> dict[str, Any]:
  """The rope_scaling that a GGUF file spells out as tensor `rope_freqs`.

  Args:
    freqs: by how much each rate is divided.
    fields: of config.json.

  Raises:
    ValueError: they are not those of Llama 3's rule.
  """
  found = {'rope_type': 'llama3', 'factor': float(np.max(freqs)),
           'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
           'original_max_position_embeddings': 8192}
  theta, scaling = _rope({**fields, 'rope_scaling': found})
  rate = theta ** (-np.arange(freqs.size) / freqs.size)
  turns = scaling.original_length * rate / (2 * math.pi)
  kept = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
  if not np.allclose(freqs, 1 / (kept + (1 - kept) / scaling.factor),
                     rtol=1e-3):
    raise ValueError('Tensor rope_freqs.weight is not the scaling of Llama 3: '
                     'read these weights from safetensors.')
  return found


def gguf_tensor(kind: str, name: str, x: np.ndarray, head_dim: int
                ) -> np.ndarray:
  """A tensor of a GGUF file with its rotary pairs in halves again."""
  turned = re.search(r'self_attn\.[qk]_proj', name)
  if kind not in _INTERLEAVED or not turned:
    return x
  pairs = x.reshape(-1, head_dim // 2, 2, *x.shape[1:])
  return pairs.swapaxes(1, 2).reshape(x.shape)
