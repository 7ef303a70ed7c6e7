"""Rotary embedding and grouped-query attention.

Keys lie as (B, K, H, S) and values as (B, K, S, H): both products then run
along contiguous memory, which makes decoding on CPU twice as fast.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from agentrl.models import config as model_config

_NEVER = -1e30  # not -inf: a row that sees nothing must give no NaN
_ALL = 2**31 - 1  # window of a global layer among local ones
_BLOCK = 128  # least queries of a block
_MOST_BLOCKS = 8  # of a sequence: the loop is unrolled, each is compiled


def rates(theta: float, head_dim: int,
          scaling: model_config.RopeScaling | None = None) -> jax.Array:
  """Returns the rates of a rotary embedding, one for each pair of features.

  Source: RoFormer, arXiv:2104.09864 section 3.2.2.

  Args:
    theta: base of the rates; 10,000 in the paper.
    head_dim: features of a head; even.
    scaling: how the rates are stretched for a longer context; None: not at all.

  Returns:
    rate, float32 [head_dim / 2], in radians a token.
  """
  half = head_dim // 2
  rate = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
  return rate if scaling is None else stretch(rate, scaling)


def rope(x_BTNH: jax.Array, positions_BT: jax.Array,
         rate: jax.Array) -> jax.Array:
  """Rotates each pair of features by its token's position.

  Source: RoFormer, arXiv:2104.09864 eq. 34, in the half-split layout of Llama.

  Args:
    x_BTNH: queries or keys; feature i forms a pair with feature i + H / 2.
    positions_BT: positions [tokens] in their sequences.
    rate: rates [H / 2] in radians a token, see `rates`.

  Returns:
    The rotated x_BTNH, in its own type.
  """
  half = x_BTNH.shape[-1] // 2
  angle = positions_BT[..., None, None].astype(jnp.float32) * rate
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  a, b = x_BTNH[..., :half], x_BTNH[..., half:]
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
  return turned.astype(x_BTNH.dtype)


def stretch(rate: jax.Array, scaling: model_config.RopeScaling) -> jax.Array:
  """Slows the rates of a rotary embedding for a longer context.

  Source: position interpolation, arXiv:2306.15595 eq. 4; with `scaling.low`
  set: Llama 3, arXiv:2407.21783 section 3.4.2.

  Args:
    rate: rates [H / 2] in radians a token.
    scaling: factor and, for Llama 3's rule, its bounds.

  Returns:
    The new rates [H / 2] in radians a token.
  """
  if scaling.low is None:
    return rate / scaling.factor
  turns = scaling.original_length * rate / (2 * jnp.pi)
  kept = jnp.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
  return rate * (kept + (1 - kept) / scaling.factor)


def within(mask_BTS: jax.Array, window: jax.Array | int | None,
           positions_BT: jax.Array, at_BS: jax.Array) -> jax.Array:
  """Narrows a mask to the last `window` tokens.

  Source: sliding-window attention, Longformer, arXiv:2004.05150 section 3.1.

  Args:
    mask_BTS: bool, the keys that each query may see.
    window: tokens that a layer sees, the query's own included; None: all.
    positions_BT: positions [tokens] of the queries.
    at_BS: positions [tokens] of the keys.

  Returns:
    mask_BTS, bool.
  """
  if window is None:
    return mask_BTS
  return mask_BTS & (positions_BT[:, :, None] - at_BS[:, None] < window)


def attend(q_BTNH: jax.Array, k_BKHS: jax.Array, v_BKSH: jax.Array,
           mask_BTS: jax.Array) -> jax.Array:
  """Computes softmax attention; query head n reads key head n // (N / K).

  Source: GQA, arXiv:2305.13245.

  Args:
    q_BTNH: queries; scores are divided by the root of H here.
    k_BKHS: keys, with their positions last.
    v_BKSH: values.
    mask_BTS: bool, the keys that a query may see. A query that sees none gets
      the mean of the values: finite, and never read.

  Returns:
    out_BTNH, in the type of the queries.
  """
  B, T, N, H = q_BTNH.shape
  K, S = v_BKSH.shape[1:3]
  # All queries of a key-value head, M = T * N / K of them, are one matrix.
  q_BKMH = jnp.swapaxes(q_BTNH.reshape(B, T, K, -1, H), 1, 2).reshape(
      B, K, -1, H)
  score_BKMS = jnp.einsum('BKMH,BKHS->BKMS', q_BKMH * H**-0.5, k_BKHS,
                          preferred_element_type=jnp.float32)
  score_BKTGS = jnp.where(mask_BTS[:, None, :, None],
                          score_BKMS.reshape(B, K, T, -1, S), _NEVER)
  highest_BKTG1 = jax.lax.stop_gradient(score_BKTGS.max(-1, keepdims=True))
  weight_BKMS = jnp.exp(score_BKTGS - highest_BKTG1).reshape(B, K, -1, S)
  # Divided by its sum after the product, where there is less to divide.
  out_BKMH = jnp.einsum('BKMS,BKSH->BKMH', weight_BKMS.astype(v_BKSH.dtype),
                        v_BKSH, preferred_element_type=jnp.float32)
  out_BKMH /= weight_BKMS.sum(-1, keepdims=True)
  out_BTKGH = jnp.swapaxes(out_BKMH.reshape(B, K, T, -1, H), 1, 2)
  return out_BTKGH.reshape(B, T, N, H).astype(q_BTNH.dtype)


def attend_causal(q_BTNH: jax.Array, k_BKHS: jax.Array, v_BKSH: jax.Array,
                  mask_BTS: jax.Array) -> jax.Array:
  """Computes `attend` where no query may see a later key: half the work.

  Queries go in blocks, each of which meets only the keys up to its end. The
  weights are made again in the backward pass: on CPU that is three times as
  fast as keeping them, because a block stays in the processor's cache.

  Source: attention in blocks, arXiv:2112.05682 section 2.

  Args:
    q_BTNH: queries; query t and key t are the same token.
    k_BKHS: keys, S = T.
    v_BKSH: values, S = T.
    mask_BTS: bool, the keys that a query may see: none after its own.

  Returns:
    out_BTNH, in the type of the queries.
  """
  T = q_BTNH.shape[1]
  size = max(_BLOCK, -(-T // _MOST_BLOCKS))
  one = jax.checkpoint(attend)
  return jnp.concatenate([
      one(q_BTNH[:, start:end], k_BKHS[..., :end], v_BKSH[:, :, :end],
          mask_BTS[:, start:end, :end])
      for start in range(0, T, size) for end in [min(T, start + size)]], 1)


class LayerKind(NamedTuple):
  """Inputs of a layer beside its weights.

  Attributes:
    window: tokens that it sees; None: all.
    rate: rates [H / 2] of its rotary embedding, in radians a token.
    layer: its index in a stacked cache; (): the cache is not stacked.
  """

  window: jax.Array | int | None
  rate: jax.Array
  layer: tuple[jax.Array, ...] = ()


def layer_kinds(config: model_config.ModelConfig) -> list[LayerKind]:
  """Returns the kind of each layer, in their order.

  Source: local and global layers, Gemma 3, arXiv:2503.19786 section 2.

  Args:
    config: shape of the model.
  """
  c = config
  rate = rates(c.rope_theta, c.head_dim, c.rope_scaling)
  if not c.window:
    return [LayerKind(None, rate)] * c.num_layers
  near = LayerKind(c.window, rates(c.local_rope_theta, c.head_dim))
  return [near if (i + 1) % c.global_every else LayerKind(_ALL, rate)
          for i in range(c.num_layers)]
