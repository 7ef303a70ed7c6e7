"""Rotary embedding and grouped-query attention.

Keys lie as (B, K, H, S) and values as (B, K, S, H): both products then run
along contiguous memory, which makes decoding on CPU twice as fast.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agentrl.models import config as model_config

_NEVER = -1e30  # not -inf: a row that sees nothing must give no NaN
_BLOCK = 128  # least queries of a block, and most blocks of a sequence:
_MOST_BLOCKS = 8  # what is unrolled is compiled so many times


def rates(theta: float, head_dim: int,
          scaling: model_config.RopeScaling | None = None) -> jax.Array:
  """Rates [radians a token] of a rotary embedding, one for each half-pair."""
  half = head_dim // 2
  rate = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
  return rate if scaling is None else stretch(rate, scaling)


def rope(x_BTNH: jax.Array, positions_BT: jax.Array,
         rate: jax.Array) -> jax.Array:
  """Rotates each half-pair of `x_BTNH` by its position, at such `rates`.

  Source: RoFormer, arXiv:2104.09864 eq. 34, in the half-split layout of Llama.
  """
  half = x_BTNH.shape[-1] // 2
  angle = positions_BT[..., None, None].astype(jnp.float32) * rate
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  a, b = x_BTNH[..., :half], x_BTNH[..., half:]
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
  return turned.astype(x_BTNH.dtype)


def stretch(rate: jax.Array, scaling: model_config.RopeScaling) -> jax.Array:
  """Rates [radians a token] of a rotary embedding for a longer context."""
  if scaling.low is None:
    return rate / scaling.factor
  turns = scaling.original_length * rate / (2 * jnp.pi)
  kept = jnp.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
  return rate * (kept + (1 - kept) / scaling.factor)


def within(mask_BTS: jax.Array, window: jax.Array | int | None,
           positions_BT: jax.Array, at_BS: jax.Array) -> jax.Array:
  """The mask of a layer that sees the last `window` tokens only, itself
  included; `at_BS` are the keys' positions. None: it sees all."""
  if window is None:
    return mask_BTS
  return mask_BTS & (positions_BT[:, :, None] - at_BS[:, None] < window)


def attend(q_BTNH: jax.Array, k_BKHS: jax.Array, v_BKSH: jax.Array,
           mask_BTS: jax.Array) -> jax.Array:
  """Softmax attention; query head n reads key-value head n // (N / K).

  Source: GQA, arXiv:2305.13245.

  Args:
    q_BTNH: queries.
    k_BKHS: keys.
    v_BKSH: values.
    mask_BTS: bool, which keys a query may see. A query that sees none gets
      the mean of the values: finite, and read by nobody.

  Returns:
    out_BTNH.
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
  """`attend` where no query may see a later key: half the work.

  Queries go in blocks, each of which meets only the keys up to its end. The
  weights are made again in the backward pass: on CPU that is three times as
  fast as keeping them, because a block stays in the processor's cache.
  """
  T = q_BTNH.shape[1]
  size = max(_BLOCK, -(-T // _MOST_BLOCKS))
  one = jax.checkpoint(attend)
  return jnp.concatenate([
      one(q_BTNH[:, start:end], k_BKHS[..., :end], v_BKSH[:, :, :end],
          mask_BTS[:, start:end, :end])
      for start in range(0, T, size) for end in [min(T, start + size)]], 1)
