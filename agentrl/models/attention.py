"""Rotary embedding and grouped-query attention."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_NEVER = -1e30  # not -inf: a row that sees nothing must give no NaN


def rope(x_BTNH: jax.Array, positions_BT: jax.Array,
         theta: float) -> jax.Array:
  """Rotates each half-pair of `x_BTNH` by its position.

  Source: RoFormer, arXiv:2104.09864 eq. 34, in the half-split layout of Llama.
  """
  half = x_BTNH.shape[-1] // 2
  rate = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
  angle = positions_BT[..., None, None].astype(jnp.float32) * rate
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  a, b = x_BTNH[..., :half], x_BTNH[..., half:]
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
  return turned.astype(x_BTNH.dtype)


def attend(q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array,
           mask_BTS: jax.Array) -> jax.Array:
  """Softmax attention; query head n reads key-value head n // (N / K).

  Source: GQA, arXiv:2305.13245.

  Args:
    q_BTNH: queries.
    k_BSKH: keys.
    v_BSKH: values.
    mask_BTS: bool, which keys a query may see. A query that sees none gets
      the mean of the values: finite, and read by nobody.

  Returns:
    out_BTNH.
  """
  B, T, N, H = q_BTNH.shape
  K = k_BSKH.shape[2]
  q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H) * H**-0.5
  score_BKGTS = jnp.einsum('BTKGH,BSKH->BKGTS', q_BTKGH, k_BSKH,
                           preferred_element_type=jnp.float32)
  score_BKGTS = jnp.where(mask_BTS[:, None, None], score_BKGTS, _NEVER)
  weight_BKGTS = jax.nn.softmax(score_BKGTS, -1).astype(v_BSKH.dtype)
  out_BTKGH = jnp.einsum('BKGTS,BSKH->BTKGH', weight_BKGTS, v_BSKH)
  return out_BTKGH.reshape(B, T, N, H)
