"""Translates the names of GGUF files into those of safetensors, config.json."""

from __future__ import annotations

from collections.abc import Mapping
import math
import re
from typing import Any

import numpy as np

from agentrl.models import families

_TOP = {'token_embd': 'model.embed_tokens', 'output': 'lm_head',
        'output_norm': 'model.norm'}
_LAYER = {
    'attn_norm': 'input_layernorm', 'attn_q': 'self_attn.q_proj',
    'attn_k': 'self_attn.k_proj', 'attn_v': 'self_attn.v_proj',
    'attn_output': 'self_attn.o_proj', 'attn_q_norm': 'self_attn.q_norm',
    'attn_k_norm': 'self_attn.k_norm', 'ffn_norm': 'post_attention_layernorm',
    'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj',
    'ffn_down': 'mlp.down_proj', 'ffn_gate_inp': 'mlp.gate',
    # All experts of a layer in one tensor.
    'ffn_gate_exps': 'mlp.experts.*.gate_proj',
    'ffn_up_exps': 'mlp.experts.*.up_proj',
    'ffn_down_exps': 'mlp.experts.*.down_proj'}
_LAYER_OF = {  # names of one architecture alone
    'gemma3': {'ffn_norm': 'pre_feedforward_layernorm',
               'post_attention_norm': 'post_attention_layernorm',
               'post_ffw_norm': 'post_feedforward_layernorm'}}
# model_type, where it is not `general.architecture`.
_KIND = {'gemma3': 'gemma3_text', 'qwen3moe': 'qwen3_moe'}
_FIELDS = {
    'hidden_size': 'embedding_length', 'num_hidden_layers': 'block_count',
    'num_attention_heads': 'attention.head_count',
    'num_key_value_heads': 'attention.head_count_kv',
    'head_dim': 'attention.key_length',
    'intermediate_size': 'feed_forward_length',
    'max_position_embeddings': 'context_length',
    'rope_theta': 'rope.freq_base',
    'rms_norm_eps': 'attention.layer_norm_rms_epsilon',
    'sliding_window': 'attention.sliding_window',
    'sliding_window_pattern': 'attention.sliding_window_pattern',
    'rope_local_base_freq': 'rope.freq_base_swa',
    'attn_logit_softcapping': 'attn_logit_softcapping',
    'final_logit_softcapping': 'final_logit_softcapping',
    'num_local_experts': 'expert_count',
    'num_experts_per_tok': 'expert_used_count',
    'moe_intermediate_size': 'expert_feed_forward_length',
    'norm_topk_prob': 'expert_weights_norm'}
_INTERLEAVED = ('llama',)  # rotary pairs lie side by side
_SHIFTED = ('gemma3_text',)  # norms hold their whole scale


def name_of(name: str, kind: str | None) -> str:
  """Returns the name in safetensors of a GGUF tensor.

  Args:
    name: name in the GGUF file.
    kind: `general.architecture` of the file.

  Returns:
    The name; `*` in it stands for each expert, where one tensor holds all of
    them. The name itself if safetensors have no such tensor.
  """
  match = re.fullmatch(r'(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)', name)
  if match is None:
    return name
  number, stem, last = match.groups()
  if number is None and stem in _TOP:
    return f'{_TOP[stem]}.{last}'
  layer = _LAYER | _LAYER_OF.get(kind, {})
  if number is not None and stem in layer:
    return f'model.layers.{number}.{layer[stem]}.{last}'
  return name


def fields_of(metadata: Mapping[str, Any],
              shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
  """Makes the fields of config.json from the metadata of a GGUF file.

  Args:
    metadata: values of the file by key.
    shapes: shapes of the tensors, by their names in safetensors.

  Returns:
    Fields of config.json.

  Raises:
    ValueError: the file holds no language model.
  """
  kind = metadata.get('general.architecture')
  embed = shapes.get('model.embed_tokens.weight')
  if embed is None:
    raise ValueError('The GGUF file has no tensor token_embd.weight: it is no '
                     'language model, or a part of one.')
  fields = {key: metadata[f'{kind}.{theirs}']
            for key, theirs in _FIELDS.items()
            if f'{kind}.{theirs}' in metadata}
  scaling = metadata.get(f'{kind}.rope.scaling.type', 'none')
  if scaling != 'none':
    fields['rope_scaling'] = {
        'rope_type': scaling,
        'factor': metadata.get(f'{kind}.rope.scaling.factor')}
  if kind == 'gemma3':  # not in the file; only the largest model differs
    largest = fields.get('num_hidden_layers') == 62
    fields['query_pre_attn_scalar'] = (
        168 if largest else fields.get('head_dim'))
  # A file without `expert_weights_norm` means True, as llama.cpp reads it.
  return {'norm_topk_prob': True, **fields, 'vocab_size': embed[0],
          'model_type': _KIND.get(kind, kind),
          'tie_word_embeddings': 'lm_head.weight' not in shapes}


def scaling_of(freqs: np.ndarray, fields: Mapping[str, Any]
               ) -> dict[str, Any]:
  """Finds the rope_scaling behind tensor `rope_freqs` of a GGUF file.

  Source: Llama 3, arXiv:2407.21783 section 3.4.2.

  Args:
    freqs: divisors of the rates [head_dim / 2].
    fields: fields of config.json.

  Returns:
    `rope_scaling` of config.json.

  Raises:
    ValueError: the divisors do not follow Llama 3's rule.
  """
  llama3 = {'rope_type': 'llama3', 'factor': float(np.max(freqs)),
           'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
           'original_max_position_embeddings': 8192}
  theta, scaling = families.rope({**fields, 'rope_scaling': llama3})
  rate = theta ** (-np.arange(freqs.size) / freqs.size)
  turns = scaling.original_length * rate / (2 * math.pi)
  kept = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
  if not np.allclose(freqs, 1 / (kept + (1 - kept) / scaling.factor),
                     rtol=1e-3):
    raise ValueError('Tensor rope_freqs.weight is not the scaling of Llama 3: '
                     'read these weights from safetensors.')
  return llama3


def tensor_of(fields: Mapping[str, Any], name: str, x: np.ndarray
              ) -> np.ndarray:
  """Converts a tensor of a GGUF file into that of safetensors.

  Source: the inverse of llama.cpp's convert_hf_to_gguf.py.

  Args:
    fields: fields of config.json, see `fields_of`.
    name: name of the tensor in safetensors.
    x: the tensor of the GGUF file: rotary pairs lie side by side (Llama), and
      the scales of the norms have 1 added (Gemma).

  Returns:
    The tensor, in the same shape.
  """
  kind = fields['model_type']
  if kind in _SHIFTED and name.endswith('norm.weight'):
    return x - 1
  if kind not in _INTERLEAVED or not re.search(r'self_attn\.[qk]_proj', name):
    return x
  head_dim = fields.get('head_dim') or (
      fields['hidden_size'] // fields['num_attention_heads'])
  pairs = x.reshape(-1, head_dim // 2, 2, *x.shape[1:])
  return pairs.swapaxes(1, 2).reshape(x.shape)
