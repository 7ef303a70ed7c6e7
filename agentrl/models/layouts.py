"""Tensors of published models: their names, and how our parameters hold them.

Ours are fused: queries, keys and values are one matrix, as are gate and up; the
experts of a layer are one stack. A parameter that no other family has is a row
of `NAMES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import itertools
import re
from typing import Any, NamedTuple

import jax
import numpy as np

from agentrl.models import config as model_config
from agentrl.models import transformer

Config = model_config.ModelConfig


class Layout(NamedTuple):
  """The conversion between one of our parameters and published tensors.

  Attributes:
    join: makes the parameter, from config and numpy arrays of the tensors.
    split: makes the list of tensors, from config and the parameter; it uses
      methods alone, so that it can be traced for its shapes.
  """

  join: Callable[[Config, Sequence[np.ndarray]], np.ndarray]
  split: Callable[[Config, Any], list[Any]]


def _heads(config: Config, x: np.ndarray) -> np.ndarray:
  return x.reshape(-1, config.head_dim, *x.shape[1:])


def _cut(config: Config, x_M: Any) -> tuple[Any, Any, Any]:
  """Splits M heads into those of queries, keys and values."""
  q, k = config.num_heads, config.num_heads + config.num_kv_heads
  return x_M[:q], x_M[q:k], x_M[k:]


_PLAIN = Layout(lambda c, parts: parts[0], lambda c, x: [x])
# Published matrices are [out, in].
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

# Path of our parameter: its layout and the tensors it is made of. `layer/`
# stands for each layer in both; `*` for each expert: ours is a stack of them.
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
# The same for models with norms after attention and MLP.
_POST_NORM_NAMES = {
    'layer/attention_post_norm/scale': (_PLAIN, (
        'layer/post_attention_layernorm.weight',)),
    'layer/mlp_norm/scale': (_PLAIN, (
        'layer/pre_feedforward_layernorm.weight',)),
    'layer/mlp_post_norm/scale': (_PLAIN, (
        'layer/post_feedforward_layernorm.weight',)),
}


class ParamSlice(NamedTuple):
  """One of our parameters, or one layer or expert of it where it is a stack.

  Attributes:
    path: path of the parameter, as `layers_0/mlp/down/kernel`.
    at: index of the slice in the parameter: the layer, if scanned, then the
      expert, if there are any.
    shape: shape of the slice.
    layout: its conversion from and to published tensors.
    theirs: shapes of these tensors, by name, in the order of the layout.
  """

  path: str
  at: tuple[int, ...]
  shape: tuple[int, ...]
  layout: Layout
  theirs: dict[str, tuple[int, ...]]


def shapes(config: Config) -> Any:
  """Returns the tree of shapes of the parameters.

  Args:
    config: shape of the model.
  """
  return jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))


def param_slices(config: Config) -> list[ParamSlice]:
  """Lists the slices of all parameters; nothing is allocated.

  Args:
    config: shape of the model.

  Raises:
    ValueError: a parameter that published models do not have.
  """
  return [one for path, leaf in flat(shapes(config)).items()
          for one in _slices_of(config, path, leaf)]


def _slices_of(config: Config, path: str, leaf: Any) -> Iterator[ParamSlice]:
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
    yield ParamSlice(path, layer + expert, one.shape, layout,
                {name: x.shape for name, x in zip(theirs, split)})


def flat(tree: Any) -> dict[str, Any]:
  """Returns the leaves of a tree of parameters by their paths, in its order.

  Args:
    tree: nested dicts, as `{'mlp': {'kernel': x}}`: path `mlp/kernel`.
  """
  return {'/'.join(str(p.key) for p in path): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
