"""Kernels of a chip: attention that keeps no scores, products of experts.

Attention is a function (q_BTNH, k_BTKH, v_BTKH, segments_BT) -> out_BTNH
over packed rows; it runs under `shard_map` where a mesh is set (`sharding.on`):
rows over the axes of a batch, heads over `tensor`.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import math
from typing import Any

import jax
from jax.experimental.pallas.ops.tpu import splash_attention
from jax.experimental.pallas.ops.tpu.megablox import ops
import jax.numpy as jnp

from agentrl.models import mesh as mesh_lib

Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]

P = jax.sharding.PartitionSpec
ATTENDED = 'attention'  # name of the output of attention, for `remat`
_LANES = 128  # lanes of a TPU's vectors: a block is a multiple of them
_BLOCK = 512  # queries or keys of a block; longer ones fill no more of the MXU


def check_length(attention: str, length: int, field: str) -> None:
  """Checks that the attention kernel can be cut for rows of some length.

  Args:
    attention: `model.attention`.
    length: tokens of a row.
    field: config field that gives the length, for the error.

  Raises:
    ValueError: it cannot.
  """
  if attention == 'splash' and length % _LANES:
    raise ValueError(f"model.attention='splash' needs rows of a multiple of "
                     f'{_LANES} tokens, but {field} is {length}.')


def splash(q_BTNH: jax.Array, k_BTKH: jax.Array, v_BTKH: jax.Array,
           segments_BT: jax.Array, *, interpret: bool = False) -> jax.Array:
  """Computes attention by Splash, a Pallas kernel for TPU: blocks above the
  diagonal cost nothing.

  Source: FlashAttention-2, arXiv:2307.08691, as JAX ships it.

  Args:
    q_BTNH: queries.
    k_BTKH: keys.
    v_BTKH: values.
    segments_BT: int32, a token sees its own segment alone.
    interpret: emulates the kernel, on any device and slowly.

  Returns:
    out_BTNH.

  Raises:
    ValueError: a length or a mesh that the kernel cannot be cut for.
  """
  check_length('splash', q_BTNH.shape[1], 'the length of rows')
  local = functools.partial(_splash_local, interpret=interpret)
  return _over_mesh(local, q_BTNH, k_BTKH, v_BTKH, segments_BT)


def _splash_local(q_BTNH: jax.Array, k_BTKH: jax.Array, v_BTKH: jax.Array,
                  segments_BT: jax.Array, *, interpret: bool) -> jax.Array:
  """Computes Splash attention for the rows and heads of one device."""
  T, N, H = q_BTNH.shape[1:]
  block = math.gcd(T, _BLOCK)
  sizes = splash_attention.BlockSizes(**dict.fromkeys((
      'block_q', 'block_kv', 'block_kv_compute', 'block_q_dkv', 'block_kv_dkv',
      'block_kv_dkv_compute', 'block_q_dq', 'block_kv_dq'), block))
  kernel = splash_attention.make_splash_mha(
      splash_attention.MultiHeadMask([splash_attention.CausalMask((T, T))] * N),
      block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret,
      residual_checkpoint_name=ATTENDED)
  heads_first = lambda x: jnp.swapaxes(x, 1, 2)
  out_BNTH = jax.vmap(kernel)(
      heads_first(q_BTNH * H**-0.5), heads_first(k_BTKH), heads_first(v_BTKH),
      splash_attention.SegmentIds(segments_BT, segments_BT))
  return heads_first(out_BNTH)


def cudnn(q_BTNH: jax.Array, k_BTKH: jax.Array, v_BTKH: jax.Array,
          segments_BT: jax.Array) -> jax.Array:
  """Computes attention by cuDNN's flash attention, for NVIDIA GPUs.

  It knows no segments: they go in as a mask, [B, 1, T, T] numbers in memory.

  Source: FlashAttention-2, arXiv:2307.08691, as cuDNN ships it.

  Args:
    q_BTNH: queries, bfloat16 or float16; H a multiple of 8, at most 256.
    k_BTKH: keys.
    v_BTKH: values.
    segments_BT: int32, a token sees its own segment alone.

  Returns:
    out_BTNH.

  Raises:
    ValueError: a type or size that the kernel does not take.
  """
  H = q_BTNH.shape[-1]
  if q_BTNH.dtype not in (jnp.bfloat16, jnp.float16) or H % 8 or H > 256:
    raise ValueError(
        f"model.attention='cudnn' takes bfloat16 or float16 and a head size "
        f'that is a multiple of 8 up to 256, got {q_BTNH.dtype} and {H}: set '
        "model.dtype='bfloat16', or model.attention='xla'.")
  return _over_mesh(_cudnn_local, q_BTNH, k_BTKH, v_BTKH, segments_BT)


def _cudnn_local(q_BTNH: jax.Array, k_BTKH: jax.Array, v_BTKH: jax.Array,
                 segments_BT: jax.Array) -> jax.Array:
  mask_B1TS = (segments_BT[:, :, None] == segments_BT[:, None, :])[:, None]
  return jax.nn.dot_product_attention(
      q_BTNH, k_BTKH, v_BTKH, mask=mask_B1TS, is_causal=True,
      implementation='cudnn')


def _over_mesh(local: Attend, q_BTNH: jax.Array, k_BTKH: jax.Array,
               v_BTKH: jax.Array, segments_BT: jax.Array) -> jax.Array:
  """Runs `local` on each device of the mesh, with its rows and heads."""
  mesh = mesh_lib.current()
  if mesh is None:
    return local(q_BTNH, k_BTKH, v_BTKH, segments_BT)
  by_head = P(mesh_lib.ROWS, None, 'tensor', None)
  return jax.shard_map(
      local, mesh=mesh, in_specs=(by_head, by_head, by_head, P(mesh_lib.ROWS)),
      out_specs=by_head, check_vma=False)(
          q_BTNH, k_BTKH, v_BTKH, segments_BT)


ATTEND: dict[str, Attend] = {'splash': splash, 'cudnn': cudnn}


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def megablox(x_RD: jax.Array, kernel_EDF: jax.Array, count_E: jax.Array,
             preferred_element_type: Any, interpret: bool = False) -> jax.Array:
  """Multiplies rows by their expert's matrix, with a gradient that runs over
  each expert's rows alone.

  XLA for TPU has a kernel for the product (`jax.lax.ragged_dot`), but makes
  the gradient of the matrices with all rows for each expert. That gradient is
  Megablox's `tgmm` here.

  Source: MegaBlocks, arXiv:2211.15841, as JAX ships it.

  Args:
    x_RD: rows, those of one expert after those of another.
    kernel_EDF: matrices of the experts.
    count_E: number of rows of each expert; rows beyond their sum give
      undefined results.
    preferred_element_type: type of the result.
    interpret: emulates the kernel, on any device and slowly.

  Returns:
    out_RF.
  """
  del interpret
  return jax.lax.ragged_dot(x_RD, kernel_EDF, count_E,
                            preferred_element_type=preferred_element_type)


def _megablox_fwd(x_RD, kernel_EDF, count_E, dtype, interpret):
  return (megablox(x_RD, kernel_EDF, count_E, dtype, interpret),
          (x_RD, kernel_EDF, count_E))


def _megablox_bwd(dtype, interpret, kept, out_RF):
  del dtype
  x_RD, kernel_EDF, count_E = kept
  out_RF = out_RF.astype(x_RD.dtype)
  grad_RD = jax.lax.ragged_dot(out_RF, jnp.swapaxes(kernel_EDF, 1, 2), count_E,
                               preferred_element_type=x_RD.dtype)
  (R, D), F = x_RD.shape, out_RF.shape[1]
  tiles = (math.gcd(R, _BLOCK), min(D, 2 * _BLOCK), min(F, 2 * _BLOCK))
  grad_EDF = ops.backend.tgmm(
      x_RD.T, out_RF, count_E, kernel_EDF.dtype, tiles, interpret=interpret)
  return grad_RD, grad_EDF, None


megablox.defvjp(_megablox_fwd, _megablox_bwd)

RAGGED: dict[str, Callable[..., jax.Array]] = {
    'xla': jax.lax.ragged_dot,
    'megablox': lambda *args, preferred_element_type: megablox(
        *args, preferred_element_type)}
