"""Families of published models: their config.json, their names of tensors.

The decoder is one; a family says which fields of `ModelConfig` it has set, and
what its tensors are called. A new one is an entry of `FAMILIES`, and rows of
`NAMES` for parameters that no other family has. `gguf_names` has the names of
both in GGUF files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import itertools
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
    fixed: fields of `ModelConfig` that are so in all of them.
    free: fields that they may set, and other families may not.
    defaults: what config.json means where it does not say.
    more: what it says that other families' do not.
    experts: each layer has them.
  """

  architecture: str
  fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  free: Sequence[str] = ()
  defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  more: Callable[[Config], dict[str, Any]] = lambda config: {
      'hidden_act': 'silu', 'use_sliding_window': False}
  experts: bool = False


def _gemma3(config: Config) -> dict[str, Any]:
  return {
      'hidden_activation': 'gelu_pytorch_tanh',
      'query_pre_attn_scalar': config.query_pre_attn_scalar or config.head_dim,
      'sliding_window': config.window or config.max_length,
      'sliding_window_pattern': config.global_every,
      'layer_types': _layer_types(config.num_layers, config.global_every),
      'rope_local_base_freq': config.local_rope_theta}


FAMILIES = {
    'llama': Family('LlamaForCausalLM'),
    'qwen2': Family('Qwen2ForCausalLM', dict(qkv_bias=True)),
    'qwen3': Family('Qwen3ForCausalLM', dict(qk_norm=True),
                    defaults=dict(head_dim=128)),
    'qwen3_moe': Family('Qwen3MoeForCausalLM', dict(qk_norm=True),
                        defaults=dict(head_dim=128), experts=True),
    'gemma3_text': Family(
        'Gemma3ForCausalLM',
        dict(qk_norm=True, activation='gelu_tanh', post_norm=True,
             zero_centered_norm=True, scale_embeddings=True),
        free=('window', 'global_every', 'local_rope_theta',
              'query_pre_attn_scalar'),
        defaults=dict(
            head_dim=256, tie_word_embeddings=True, query_pre_attn_scalar=256,
            sliding_window_pattern=6, rope_theta=1e6, rope_local_base_freq=1e4),
        more=_gemma3),
}
# What a family must know of, or its models are others.
_SPECIAL = ('smear', 'qkv_bias', 'qk_norm', 'window', 'global_every',
            'local_rope_theta', 'query_pre_attn_scalar', 'activation',
            'post_norm', 'zero_centered_norm', 'scale_embeddings')

_SIZES = {  # field of ModelConfig: key of config.json
    'vocab_size': 'vocab_size', 'num_layers': 'num_hidden_layers',
    'd_model': 'hidden_size', 'num_heads': 'num_attention_heads',
    'd_ff': 'intermediate_size', 'max_length': 'max_position_embeddings',
    'norm_eps': 'rms_norm_eps'}
_EXPERTS = {  # more of them
    'd_ff': 'moe_intermediate_size', 'num_experts': 'num_experts',
    'experts_per_token': 'num_experts_per_tok'}
_LLAMA3 = {'factor': 'factor', 'low': 'low_freq_factor',
           'high': 'high_freq_factor',
           'original_length': 'original_max_position_embeddings'}
_SCALINGS = {'llama3': _LLAMA3, 'linear': {'factor': 'factor'}}
_MUST_BE = {  # what the decoder does not know may only be switched off
    'hidden_act': 'silu', 'attention_bias': False, 'mlp_bias': False,
    'use_sliding_window': False, 'partial_rotary_factor': 1.0,
    'decoder_sparse_step': 1, 'mlp_only_layers': [],
    'quantization_config': None, 'hidden_activation': 'gelu_pytorch_tanh',
    'attn_logit_softcapping': 0, 'final_logit_softcapping': 0,
    'use_bidirectional_attention': False}


def from_hf(fields: Mapping[str, Any], where: str = 'config.json',
            **changes: Any) -> Config:
  """The ModelConfig of a config.json of `transformers`.

  Args:
    fields: of config.json.
    where: what says them, for errors.
    **changes: fields of ModelConfig that it does not decide, or that shall be
      others: dtype, param_dtype (float32, whatever the file says), remat.

  Raises:
    ValueError: an unknown family, a missing field, or a kind of model that
      the decoder would not run exactly.
  """
  kind = fields.get('model_type')
  if kind not in FAMILIES:
    raise ValueError(f'No model family {kind!r} (model_type of {where}).'
                     + resolve.hint(kind, FAMILIES))
  family = FAMILIES[kind]
  fields = {**family.defaults,
            **{key: x for key, x in fields.items() if x is not None}}
  # `transformers` 5 writes the one name, published files have the other.
  fields = {'num_experts': fields.get('num_local_experts', 0), **fields}
  none = {} if family.experts else {'num_experts': 0}
  for key, only in (_MUST_BE | none).items():
    if (value := fields.get(key, only)) != only:
      raise ValueError(f'{where} has {key}={value!r}, but the decoder '
                       f'computes {only!r} alone: choose other weights.')
  sizes = _taken(fields, _SIZES | (_EXPERTS if family.experts else {}), where)
  rope_theta, scaling = rope(fields, where)
  head_dim = fields.get('head_dim') or (
      sizes['d_model'] // max(1, sizes['num_heads']))
  scalar = fields.get('query_pre_attn_scalar', head_dim)
  return model_config.make({
      **sizes, 'rope_theta': rope_theta, 'rope_scaling': scaling,
      'num_kv_heads': fields.get('num_key_value_heads') or sizes['num_heads'],
      'head_dim': head_dim,
      'query_pre_attn_scalar': None if scalar == head_dim else scalar,
      'tie_embeddings': bool(fields.get('tie_word_embeddings', False)),
      'norm_topk': family.experts and bool(fields.get('norm_topk_prob')),
      **_local(fields, where), **family.fixed, **changes})


def _taken(fields: Mapping[str, Any], keys: Mapping[str, str], where: str
           ) -> dict[str, Any]:
  absent = [key for key in keys.values() if fields.get(key) is None]
  if absent:
    raise ValueError(f'{where} lacks {", ".join(absent)}.')
  if odd := [f'{key}={fields[key]!r}' for key in keys.values()
             if not isinstance(fields[key], int | float)]:
    raise ValueError(f'{where} has {", ".join(odd)}: these must be numbers.')
  return {ours: fields[key] for ours, key in keys.items()}


def rope(fields: Mapping[str, Any], where: str = 'config.json'
         ) -> tuple[float, model_config.RopeScaling | None]:
  """Base and scaling; `transformers` 5 keeps both in `rope_parameters`, for
  each type of layer where there are several.

  Raises:
    ValueError: a scaling that the decoder does not know.
  """
  new = fields.get('rope_parameters') or {}
  found = {**(fields.get('rope_scaling') or {}),
           **new.get('full_attention', new)}
  # The published Llama 1 and 2 do not name their base.
  theta = found.get('rope_theta') or fields.get('rope_theta') or 10_000.0
  theta = float(_taken({'rope_theta': theta}, {'': 'rope_theta'}, where)[''])
  kind = found.get('rope_type', found.get('type', 'default'))
  if kind == 'default':
    return theta, None
  if kind not in _SCALINGS:
    raise ValueError(
        f'{where} scales the rotary embedding by {kind!r}; known are '
        f"'default', {', '.join(map(repr, _SCALINGS))}. With "
        'rope_scaling null in a config.json weights are read with the context '
        'they had before.')
  return theta, model_config.RopeScaling(
      **_taken(found, _SCALINGS[kind], f'rope_scaling of {where}'))


def _layer_types(layers: int, every: int) -> list[str]:
  return ['sliding_attention' if (i + 1) % every else 'full_attention'
          for i in range(layers)]


def _local(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
  """The fields of `ModelConfig` that are of local layers, if there are any."""
  kinds = fields.get('layer_types')
  every = fields.get('sliding_window_pattern', 1)
  if kinds and 'full_attention' in kinds:
    every = kinds.index('full_attention') + 1
  layers = fields['num_hidden_layers']
  if kinds and list(kinds) != _layer_types(layers, every):
    raise ValueError(f'{where} has layer_types={list(kinds)}, but the '
                     'decoder knows global layers at equal steps alone, for '
                     f'all {layers} layers: choose other weights.')
  if every == 1:
    return {}
  own = (fields.get('rope_parameters') or {}).get('sliding_attention') or {}
  if own.get('rope_type', 'default') != 'default':
    raise ValueError(f'{where} scales the rotary embedding of its local '
                     f'layers by {own["rope_type"]!r}, which the decoder does '
                     'not: choose other weights.')
  theta = own.get('rope_theta') or fields.get('rope_local_base_freq')
  return {**_taken({**fields, 'rope_local_base_freq': theta}, {
      'window': 'sliding_window', 'local_rope_theta': 'rope_local_base_freq'},
                   where), 'global_every': every}


def family_of(config: Config) -> str:
  """The `model_type` whose models have this shape.

  Raises:
    ValueError: none has.
  """
  plain = {x.name: x.default for x in dataclasses.fields(Config)}
  for kind, family in FAMILIES.items():
    want = {**plain, **family.fixed}
    if (config.num_experts > 0) == family.experts and all(
        getattr(config, name) == want[name]
        for name in _SPECIAL if name not in family.free):
      return kind
  odd = ', '.join(f'{name}={getattr(config, name)!r}'
                  for name in (*_SPECIAL, 'num_experts')
                  if getattr(config, name) != plain[name])
  raise ValueError(
      f'No published family is a model with {odd} and all else plain: it can '
      'be kept as a bundle, but not written for other libraries.')


def to_hf(config: Config) -> dict[str, Any]:
  """config.json, which `transformers` 4 and 5 both read.

  Raises:
    ValueError: no family of `transformers` is this model.
  """
  kind = family_of(config)
  fields = {key: getattr(config, ours) for ours, key in _SIZES.items()}
  if config.num_experts:
    fields |= {key: getattr(config, ours) for ours, key in _EXPERTS.items()}
    fields['norm_topk_prob'] = config.norm_topk
  scaling = config.rope_scaling
  if scaling is not None:
    rule = 'linear' if scaling.low is None else 'llama3'
    scaling = {'rope_type': rule, **{
        key: getattr(scaling, ours) for ours, key in _SCALINGS[rule].items()}}
  return {
      'architectures': [FAMILIES[kind].architecture], 'model_type': kind,
      **fields, 'num_key_value_heads': config.num_kv_heads,
      'head_dim': config.head_dim, 'rope_theta': config.rope_theta,
      'rope_scaling': scaling, 'attention_bias': False,
      'tie_word_embeddings': config.tie_embeddings,
      'torch_dtype': config.param_dtype, **FAMILIES[kind].more(config)}


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
# each layer, here and there; `*` for each expert, of which ours is a stack.
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
    'layer/moe/router/kernel': (_MATRIX, ('layer/mlp.gate.weight',)),
    'layer/moe/up/kernel': (_GATED, (
        'layer/mlp.experts.*.gate_proj.weight',
        'layer/mlp.experts.*.up_proj.weight')),
    'layer/moe/down/kernel': (_MATRIX, (
        'layer/mlp.experts.*.down_proj.weight',)),
}
# Where there are norms after attention and MLP, too.
_POST_NORM_NAMES = {
    'layer/attention_post_norm/scale': (_PLAIN, (
        'layer/post_attention_layernorm.weight',)),
    'layer/mlp_norm/scale': (_PLAIN, (
        'layer/pre_feedforward_layernorm.weight',)),
    'layer/mlp_post_norm/scale': (_PLAIN, (
        'layer/post_feedforward_layernorm.weight',)),
}


class Piece(NamedTuple):
  """One of our parameters, or one layer or expert of it where it is a stack.

  Attributes:
    path: of the parameter, as `layers_0/mlp/down/kernel`.
    at: index of the piece in the parameter: of the layer, if scanned, and of
      the expert, if it has any.
    shape: of the piece.
    layout: how it is made.
    theirs: shapes of the tensors it is made of, by name, in their order.
  """

  path: str
  at: tuple[int, ...]
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
  return [piece for path, leaf in flat(shapes(config)).items()
          for piece in _pieces(config, path, leaf)]


def _pieces(config: Config, path: str, leaf: Any) -> Iterator[Piece]:
  inner = re.fullmatch(r'layers(?:_(\d+))?/(.*)', path)
  row = path if inner is None else f'layer/{inner[2]}'
  table = NAMES | (_POST_NORM_NAMES if config.post_norm else {})
  if row not in table:
    raise ValueError(f'Published models have no parameter {path}: set '
                     'model.smear to 0.')
  layout, names = table[row]
  layers, experts = [()], [()]
  if scanned := inner is not None and inner[1] is None:
    layers = [(i,) for i in range(config.num_layers)]
  if '*' in names[0]:
    experts = [(i,) for i in range(config.num_experts)]
  lead = len(layers[0]) + len(experts[0])
  one = jax.ShapeDtypeStruct(leaf.shape[lead:], leaf.dtype)
  split = jax.eval_shape(lambda x: layout.split(config, x), one)
  for layer, expert in itertools.product(layers, experts):
    number = layer[0] if scanned else inner and inner[1]
    theirs = [name.replace('layer/', f'model.layers.{number}.')
              .replace('*', ''.join(map(str, expert))) for name in names]
    yield Piece(path, layer + expert, one.shape, layout,
                {name: x.shape for name, x in zip(theirs, split)})


def flat(tree: Any) -> dict[str, Any]:
  """The leaves of a tree of parameters by their paths, in its order."""
  return {'/'.join(str(p.key) for p in path): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
