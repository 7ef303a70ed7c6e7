"""The shape of a model."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from agentrl import resolve

DTYPES = ('float32', 'bfloat16', 'float16')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A decoder: RMSNorm, RoPE, grouped-query attention, SwiGLU.

  Attributes:
    vocab_size: number of token ids.
    num_layers, d_model, num_heads, num_kv_heads, head_dim, d_ff: sizes.
    max_length: longest context [tokens] it is trained for.
    rope_theta: base of the rotary embedding.
    norm_eps: of RMSNorm.
    tie_embeddings: the output head is the embedding, transposed.
    dtype: of activations; norms, softmax and logits are float32 always.
    param_dtype: of parameters.
    scan_layers: one compiled layer for all; pays for deep models.
    remat: recompute a layer's activations in the backward pass.
    smear: each token's embedding carries those of so many tokens before it,
      through a matrix (smeared keys, arXiv:2209.11895), and fresh weights can
      copy (`models/induction.py`). For models from scratch; published ones
      have 0.
  """

  vocab_size: int
  num_layers: int
  d_model: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  d_ff: int
  max_length: int
  rope_theta: float = 10_000.0
  norm_eps: float = 1e-6
  tie_embeddings: bool = True
  dtype: str = 'float32'
  param_dtype: str = 'float32'
  scan_layers: bool = False
  remat: bool = False
  smear: int = 0

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      least = 0 if field.name == 'smear' else 1
      if field.type == 'int' and (type(value) is not int or value < least):
        raise ValueError(f'model.{field.name} must be an integer of at least '
                         f'{least}, got {value!r}.')
      if field.type == 'float' and not value > 0:
        raise ValueError(f'model.{field.name} must be above 0, got {value!r}.')
      if field.name.endswith('dtype') and value not in DTYPES:
        raise ValueError(f'model.{field.name} must be one of '
                         f'{", ".join(DTYPES)}, got {value!r}.')
    if self.num_heads % self.num_kv_heads:
      raise ValueError(
          f'model.num_heads={self.num_heads} must be a multiple of '
          f'model.num_kv_heads={self.num_kv_heads}: each key-value head serves '
          'the same number of query heads.')
    if self.head_dim % 2:
      raise ValueError(f'model.head_dim must be even for the rotary embedding, '
                       f'got {self.head_dim}.')


def make(fields: Mapping[str, Any], **more: Any) -> ModelConfig:
  """A ModelConfig from a config section and from what the data decide.

  Raises:
    ValueError: an unknown or a missing field, or sizes that do not fit.
  """
  return resolve.call(ModelConfig, {**fields, **more})
