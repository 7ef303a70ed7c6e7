"""The shape of a model."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from agentrl import resolve

DTYPES = ('float32', 'bfloat16', 'float16')
ACTIVATIONS = ('silu', 'gelu_tanh')
ATTENTIONS = ('xla', 'splash', 'cudnn')
EXPERTS = ('xla', 'megablox')
_MAY_BE_0 = ('smear', 'window', 'num_experts', 'experts_per_token',
             'router_aux_coef')
# The parts of a layer that are kept for the backward pass: all; its input; its
# input and the output of attention; its input and the products with matrices.
REMAT = ('none', 'full', 'attention', 'dots')
_WORDS = {'dtype': DTYPES, 'param_dtype': DTYPES, 'activation': ACTIVATIONS,
          'remat': REMAT, 'attention': ATTENTIONS, 'experts': EXPERTS}


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """The rule that stretches a rotary embedding over a longer context.

  With `factor` alone every pair is slowed by it. Source: position
  interpolation, arXiv:2306.15595 eq. 4.

  With the other fields as in Llama 3: a pair that turns more than `high` times
  within `original_length` tokens keeps its rate, one that turns less than
  `low` times is slowed by `factor`, and between the two the rate is blended.
  Source: arXiv:2407.21783 section 3.4.2, with the constants of its published
  weights.

  Attributes:
    factor: new context divided by the old one.
    low, high: bounds [turns within the original context].
    original_length: context [tokens] before it was stretched.
  """

  factor: float
  low: float | None = None
  high: float | None = None
  original_length: int | None = None

  def __post_init__(self):
    given = {name: value for name, value in dataclasses.asdict(self).items()
             if value is not None}
    for name, value in given.items():
      if isinstance(value, bool) or not (
          isinstance(value, int | float) and value > 0):
        raise ValueError(f'model.rope_scaling.{name} must be a number above '
                         f'0, got {value!r}.')
    if len(given) not in (1, 4):
      raise ValueError('model.rope_scaling needs factor alone, or low, high '
                       f'and original_length too; got {", ".join(given)}.')
    if self.low is not None and self.high <= self.low:
      raise ValueError(f'model.rope_scaling.high={self.high} must be above '
                       f'model.rope_scaling.low={self.low}.')


# Type of a field: the Python types that it takes, and their name in errors.
_KINDS = {'int': (int, 'an integer'), 'float': (int | float, 'a float'),
          'bool': (bool, 'True or False'), 'str': (str, 'a string'),
          'RopeScaling': (RopeScaling, 'a section with `factor`')}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A decoder: RMSNorm, RoPE, grouped-query attention, a gated MLP.

  Published models differ in these fields; `families` says which family has
  which.

  Attributes:
    vocab_size: number of token ids.
    num_layers, d_model, num_heads, num_kv_heads, head_dim, d_ff: sizes.
    max_length: longest context [tokens] it is trained for.
    rope_theta: base of the rotary embedding.
    rope_scaling: rule that stretches its rates; None: they are as they are.
    window: tokens that a local layer sees, the token itself included. 0: all
      layers are global, and see all.
    global_every: layer i is global if this divides i + 1. 1: all are.
    local_rope_theta: base of the rotary embedding of local layers; their rates
      are never stretched.
    qkv_bias: queries, keys and values have a bias.
    qk_norm: each head's query and key goes through an RMSNorm, before RoPE.
    query_pre_attn_scalar: scores are divided by its root; None: `head_dim`.
    activation: function of the gate of MLP or experts, `silu` or `gelu_tanh`.
    post_norm: the outputs of attention and MLP go through an RMSNorm, too.
    zero_centered_norm: norms keep their scale less 1, as weights near 0.
    scale_embeddings: embeddings are multiplied by the root of `d_model`.
    attention: kernel for packed rows: `xla` anywhere, or one that makes no
      scores in memory, `splash` on TPU and `cudnn` on an NVIDIA GPU; see
      `models/kernels.py`. With a cache it is `xla` always.
    experts: kernel for the gradients of the experts' matrices: `xla` anywhere,
      or `megablox` on TPU, where XLA's go through every expert with every
      token.
    norm_eps: added to the mean square in RMSNorm.
    tie_embeddings: the output head is the embedding, transposed.
    dtype: type of activations; norms, softmax and logits are float32 always.
    param_dtype: type of parameters.
    scan_layers: one compiled layer for all; pays for deep models.
    remat: activations of a layer that the backward pass makes again: `none`,
      `full` (all), `attention` (all but the output of attention: in long rows
      a kernel's second run costs more than that memory) or `dots` (all but the
      products with its matrices).
    smear: number of earlier tokens whose embeddings are added to each token's,
      through a matrix (smeared keys, arXiv:2209.11895); fresh weights can then
      copy (`models/induction.py`). For models from scratch; published ones
      have 0.
    num_experts: 0: each layer has one MLP of width `d_ff`; else the number of
      its experts, MLPs of that width, of which a token goes through
      `experts_per_token`.
    norm_topk: the weights of a token's experts add up to 1.
    router_aux_coef: factor of the loss that keeps experts in equal use, see
      `moe.penalty`; 0: none.
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
  remat: str = 'none'
  smear: int = 0
  rope_scaling: RopeScaling | None = None
  qkv_bias: bool = False
  qk_norm: bool = False
  num_experts: int = 0
  experts_per_token: int = 0
  norm_topk: bool = False
  router_aux_coef: float = 0.0
  window: int = 0
  global_every: int = 1
  local_rope_theta: float = 10_000.0
  query_pre_attn_scalar: float | None = None
  activation: str = 'silu'
  post_norm: bool = False
  zero_centered_norm: bool = False
  scale_embeddings: bool = False
  attention: str = 'xla'
  experts: str = 'xla'

  def __post_init__(self):
    if hasattr(self.rope_scaling, 'keys'):
      # As a section of a config or of model.json has it.
      object.__setattr__(self, 'rope_scaling',
                         resolve.call(RopeScaling, {**self.rope_scaling}))
    for field in dataclasses.fields(self):
      _check(field, getattr(self, field.name))
    self._check_together()

  def _check_together(self) -> None:
    """Raises ValueError for fields that do not fit one another."""
    if (self.window > 0) != (self.global_every > 1):
      raise ValueError(
          f'model.window={self.window} is of local layers, and '
          f'model.global_every={self.global_every} says which layers those '
          'are: set both (window from 1, global_every from 2), or 0 and 1.')
    if self.window and self.attention != 'xla':
      raise ValueError(f'model.attention={self.attention!r} knows no local '
                       f'layers, and model.window={self.window}: set '
                       "model.attention='xla'.")
    if self.num_heads % self.num_kv_heads:
      raise ValueError(
          f'model.num_heads={self.num_heads} must be a multiple of '
          f'model.num_kv_heads={self.num_kv_heads}: each key-value head serves '
          'the same number of query heads.')
    if self.head_dim % 2:
      raise ValueError(f'model.head_dim must be even for the rotary embedding, '
                       f'got {self.head_dim}.')
    if self.smear and (self.qkv_bias or self.qk_norm):
      raise ValueError(
          f'model.smear={self.smear} starts with induction heads made of plain '
          'projections: set model.qkv_bias and model.qk_norm to False, or '
          'model.smear to 0.')
    if (self.experts_per_token > self.num_experts
        or bool(self.experts_per_token) != bool(self.num_experts)):
      raise ValueError(
          f'model.experts_per_token={self.experts_per_token} must lie between '
          f'1 and model.num_experts={self.num_experts}, or both be 0.')
    if not self.num_experts and (self.norm_topk or self.router_aux_coef):
      raise ValueError(
          f'model.norm_topk={self.norm_topk} and model.router_aux_coef='
          f'{self.router_aux_coef} are of models with experts: set '
          'model.num_experts, or these to False and 0.')


def _check(field: dataclasses.Field, value: Any) -> None:
  """Raises ValueError unless a field of `ModelConfig` may have this value."""
  kind, _, none = field.type.partition(' | ')
  if none and value is None:
    return
  name, (types, words) = f'model.{field.name}', _KINDS[kind]
  if not isinstance(value, types) or isinstance(value, bool) != (
      kind == 'bool'):  # a bool is an int, too
    raise ValueError(f'{name} must be {words}, got {value!r}.')
  least = 0 if field.name in _MAY_BE_0 else 1
  if kind == 'int' and value < least:
    raise ValueError(f'{name} must be at least {least}, got {value!r}.')
  if kind == 'float' and not (value > 0 or value == least == 0):
    raise ValueError(f'{name} must be above 0{", or 0" * (not least)}, got '
                     f'{value!r}.')
  if kind == 'str' and value not in _WORDS[field.name]:
    raise ValueError(f'{name} must be one of {", ".join(_WORDS[field.name])}, '
                     f'got {value!r}.')


def make(fields: Mapping[str, Any], **more: Any) -> ModelConfig:
  """Makes a ModelConfig from a section of a config.

  Args:
    fields: fields of the section.
    **more: further fields, as `vocab_size`, which the data decide.

  Raises:
    ValueError: an unknown or a missing field, or sizes that do not fit.
  """
  return resolve.call(ModelConfig, {**fields, **more})
