"""Families of published models, by their config.json.

There is one decoder; a family says which fields of `ModelConfig` it sets. A new
one is an entry of `FAMILIES`, and rows of `layouts.NAMES` for parameters that
no other family has. `gguf_names` has the names of fields and tensors in GGUF
files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from agentrl import resolve
from agentrl.models import config as model_config

Config = model_config.ModelConfig


@dataclasses.dataclass(frozen=True)
class Family:
  """The properties that all models of one `model_type` share.

  Attributes:
    architecture: class in `transformers`.
    fixed: fields of `ModelConfig` with the same value in all of them.
    free: fields that they may set, and other families may not.
    defaults: values of fields that config.json leaves out.
    more: makes the fields of config.json that other families lack.
    experts: each layer has experts.
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
# Fields that change the model: a family must fix them, or leave them free.
_SPECIAL = ('smear', 'qkv_bias', 'qk_norm', 'window', 'global_every',
            'local_rope_theta', 'query_pre_attn_scalar', 'activation',
            'post_norm', 'zero_centered_norm', 'scale_embeddings')

_SIZES = {  # field of ModelConfig: key of config.json
    'vocab_size': 'vocab_size', 'num_layers': 'num_hidden_layers',
    'd_model': 'hidden_size', 'num_heads': 'num_attention_heads',
    'd_ff': 'intermediate_size', 'max_length': 'max_position_embeddings',
    'norm_eps': 'rms_norm_eps'}
_EXPERTS = {  # the same, of families with experts
    'd_ff': 'moe_intermediate_size', 'num_experts': 'num_experts',
    'experts_per_token': 'num_experts_per_tok'}
_LLAMA3 = {'factor': 'factor', 'low': 'low_freq_factor',
           'high': 'high_freq_factor',
           'original_length': 'original_max_position_embeddings'}
_SCALINGS = {'llama3': _LLAMA3, 'linear': {'factor': 'factor'}}
_MUST_BE = {  # keys for features that the decoder lacks: they must be off
    'hidden_act': 'silu', 'attention_bias': False, 'mlp_bias': False,
    'use_sliding_window': False, 'partial_rotary_factor': 1.0,
    'decoder_sparse_step': 1, 'mlp_only_layers': [],
    'quantization_config': None, 'hidden_activation': 'gelu_pytorch_tanh',
    'attn_logit_softcapping': 0, 'final_logit_softcapping': 0,
    'use_bidirectional_attention': False}


def from_hf(fields: Mapping[str, Any], where: str = 'config.json',
            **changes: Any) -> Config:
  """Makes the ModelConfig of a config.json of `transformers`.

  Args:
    fields: fields of config.json.
    where: name of their source, for errors.
    **changes: fields of ModelConfig to set or to change: dtype, param_dtype
      (float32 by default, also where the file has another), remat.

  Returns:
    The shape of the model.

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
  """Reads the rotary embedding; `transformers` 5 keeps it in
  `rope_parameters`, for each type of layer where there are several.

  Args:
    fields: fields of config.json.
    where: name of their source, for errors.

  Returns:
    Base and scaling (None: there is none) of the global layers.

  Raises:
    ValueError: a scaling that the decoder does not know.
  """
  new = fields.get('rope_parameters') or {}
  given = {**(fields.get('rope_scaling') or {}),
           **new.get('full_attention', new)}
  # The published Llama 1 and 2 do not name their base.
  theta = given.get('rope_theta') or fields.get('rope_theta') or 10_000.0
  theta = float(_taken({'rope_theta': theta}, {'': 'rope_theta'}, where)[''])
  kind = given.get('rope_type', given.get('type', 'default'))
  if kind == 'default':
    return theta, None
  if kind not in _SCALINGS:
    raise ValueError(
        f'{where} scales the rotary embedding by {kind!r}; known are '
        f"'default', {', '.join(map(repr, _SCALINGS))}. With "
        'rope_scaling null in a config.json weights are read with the context '
        'they had before.')
  return theta, model_config.RopeScaling(
      **_taken(given, _SCALINGS[kind], f'rope_scaling of {where}'))


def _layer_types(layers: int, every: int) -> list[str]:
  return ['sliding_attention' if (i + 1) % every else 'full_attention'
          for i in range(layers)]


def _local(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
  """Returns the fields of `ModelConfig` for local layers; {}: it has none."""
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
  """Finds the `model_type` with models of this shape.

  Args:
    config: shape of the model.

  Raises:
    ValueError: there is none.
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
  """Makes a config.json that `transformers` 4 and 5 both read.

  Args:
    config: shape of the model.

  Raises:
    ValueError: no family of `transformers` has this shape.
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
