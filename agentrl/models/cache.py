"""The KV cache: keys and values of the tokens read so far, row by row.

One array a layer, because a stacked one would be copied as a whole when a
layer of it changes. Keys lie with their positions last, values with their
features last: see `attention`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agentrl.models import config as model_config

_HOW = dict(mode='drop', unique_indices=True)


class KvCache(NamedTuple):
  """Keys and values of each layer, and the ids of the tokens.

  Attributes:
    k: k_BKHS of each layer; or one array over L of all (`stacked`).
    v: v_BKSH of each layer; or one array over L of all.
    ids_BS: int32, the token at each position; 0 where none was written.
  """

  k: tuple[jax.Array, ...] | jax.Array
  v: tuple[jax.Array, ...] | jax.Array
  ids_BS: jax.Array

  @property
  def length(self) -> int:
    """Counts the tokens that a row has room for: S."""
    return self.ids_BS.shape[1]


def empty(config: model_config.ModelConfig, batch: int, length: int) -> KvCache:
  """Makes a cache in which nothing is written.

  Source: decoding with grouped heads, arXiv:1911.02150 section 2.4 and
  arXiv:2305.13245.

  Args:
    config: shape of the model.
    batch: number of rows, B.
    length: tokens that a row has room for, S.

  Returns:
    A cache of zeros, in `config.dtype`.
  """
  def layers(*last: int) -> tuple[jax.Array, ...]:
    return tuple(
        jnp.zeros((batch, config.num_kv_heads, *last), config.dtype)
        for _ in range(config.num_layers))
  return KvCache(layers(config.head_dim, length),
                 layers(length, config.head_dim),
                 jnp.zeros((batch, length), jnp.int32))


def stacked(cache: KvCache) -> KvCache:
  """Joins the layers' arrays: a scan over layers writes to them in place.

  Args:
    cache: with a tuple over L, or stacked already.

  Returns:
    The cache with k [L, B, K, H, S] and v [L, B, K, S, H].
  """
  one = lambda x: jnp.stack(x) if isinstance(x, tuple) else x
  return cache._replace(k=one(cache.k), v=one(cache.v))


def write_ids(ids_BS: jax.Array, ids_BT: jax.Array, positions_BT: jax.Array,
              row_B: jax.Array | None = None) -> jax.Array:
  """Writes new ids at their positions.

  Args:
    ids_BS: ids of the cache.
    ids_BT: new ids.
    positions_BT: positions they go to; a negative one marks a pad, which is
      not written.
    row_B: rows they go to; a row that is not there takes nothing. None: row b
      of the new ones to row b of the cache.

  Returns:
    ids_BS of the cache.
  """
  row, to = _rows(positions_BT, row_B), _places(ids_BS, positions_BT)
  return ids_BS.at[row, to].set(ids_BT, **_HOW)


def write(k_BKHS: jax.Array, v_BKSH: jax.Array, k_BTKH: jax.Array,
          v_BTKH: jax.Array, positions_BT: jax.Array,
          row_B: jax.Array | None = None, *, layer: tuple[Any, ...] = ()
         ) -> tuple[jax.Array, jax.Array]:
  """Writes one layer's new keys and values at their positions.

  Source: incremental decoding, arXiv:1911.02150 section 2.4.

  Args:
    k_BKHS: keys of the cache.
    v_BKSH: values of the cache.
    k_BTKH: new keys.
    v_BTKH: new values.
    positions_BT: positions they go to; a negative one marks a pad, which is
      not written.
    row_B: rows they go to; a row that is not there takes nothing. None: row b
      of the new ones to row b of the cache.
    layer: index of the layer, if keys and values are `stacked`.

  Returns:
    (k_BKHS, v_BKSH) of the cache, in its own type.
  """
  row = _rows(positions_BT, row_B)[..., None]
  head = jnp.arange(k_BTKH.shape[2])
  to = _places(k_BKHS, positions_BT)[..., None]
  return (
      k_BKHS.at[*layer, row, head, :, to].set(
          k_BTKH.astype(k_BKHS.dtype), **_HOW),
      v_BKSH.at[*layer, row, head, to].set(
          v_BTKH.astype(v_BKSH.dtype), **_HOW))


def _rows(positions_BT: jax.Array, row_B: jax.Array | None) -> jax.Array:
  row_B = jnp.arange(positions_BT.shape[0]) if row_B is None else row_B
  return row_B[:, None]


def _places(x: jax.Array, positions_BT: jax.Array) -> jax.Array:
  """Moves pads past the end, where they are dropped: -1 is the last place."""
  return jnp.where(positions_BT < 0, x.shape[-1], positions_BT)


def take(cache: KvCache, row_B: jax.Array, length: int) -> KvCache:
  """Takes the first entries of some rows, as a cache of their own.

  Args:
    cache: B rows, not stacked.
    row_B: rows to take.
    length: tokens to take of each.

  Returns:
    A cache of these rows, of `length` tokens.
  """
  return KvCache(tuple(k[row_B, :, :, :length] for k in cache.k),
               tuple(v[row_B, :, :length] for v in cache.v),
               cache.ids_BS[row_B, :length])


def put(cache: KvCache, part: KvCache, row_B: jax.Array,
        positions_BT: jax.Array) -> KvCache:
  """Writes the entries of a smaller cache at some positions.

  Args:
    cache: the cache to write to, not stacked.
    part: cache with one row for each of `row_B`.
    row_B: rows of `cache` to write to.
    positions_BT: positions of the entries, in both; a negative one marks a
      pad, which is not written.

  Returns:
    The cache with these entries.
  """
  row, at = _rows(positions_BT, None), positions_BT
  head = jnp.arange(part.k[0].shape[1])
  each = row[..., None], head, at[..., None]
  layers = [
      write(k, v, new_k[each[0], head, :, each[2]], new_v[each], at, row_B)
      for k, v, new_k, new_v in zip(cache.k, cache.v, part.k, part.v)]
  k, v = zip(*layers)
  return KvCache(k, v, write_ids(cache.ids_BS, part.ids_BS[row, at], at, row_B))


def copy(cache: KvCache, from_B: jax.Array, to_B: jax.Array,
         length: int) -> KvCache:
  """Copies the first entries of some rows to others.

  Args:
    cache: not stacked.
    from_B: rows to read.
    to_B: rows to write, all different; a row that is not there takes nothing.
    length: tokens to copy.

  Returns:
    The cache with the copies.
  """
  part = take(cache, from_B, length)
  return KvCache(
      tuple(k.at[to_B, :, :, :length].set(new, **_HOW)
            for k, new in zip(cache.k, part.k)),
      tuple(v.at[to_B, :, :length].set(new, **_HOW)
            for v, new in zip(cache.v, part.v)),
      cache.ids_BS.at[to_B, :length].set(part.ids_BS, **_HOW))
