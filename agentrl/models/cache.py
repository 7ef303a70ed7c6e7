"""The KV cache: what was read stays, row by row, each at its own position.

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


class Cache(NamedTuple):
  """Keys (B, K, H, S) and values (B, K, S, H), each a tuple over L, or one
  array of all (`stacked`); and ids."""

  k: tuple[jax.Array, ...] | jax.Array
  v: tuple[jax.Array, ...] | jax.Array
  ids_BS: jax.Array

  @property
  def length(self) -> int:
    """S: how many tokens a row has room for."""
    return self.ids_BS.shape[1]


def empty(config: model_config.ModelConfig, batch: int, length: int) -> Cache:
  """A cache of `batch` rows and `length` tokens, all unwritten."""
  def layers(*last: int) -> tuple[jax.Array, ...]:
    return tuple(
        jnp.zeros((batch, config.num_kv_heads, *last), config.dtype)
        for _ in range(config.num_layers))
  return Cache(layers(config.head_dim, length), layers(length, config.head_dim),
               jnp.zeros((batch, length), jnp.int32))


def stacked(cache: Cache) -> Cache:
  """Keys and values as one array over L each: what a scan over layers writes
  to in place."""
  one = lambda x: jnp.stack(x) if isinstance(x, tuple) else x
  return cache._replace(k=one(cache.k), v=one(cache.v))


def write_ids(ids_BS: jax.Array, ids_BT: jax.Array, positions_BT: jax.Array,
              row_B: jax.Array | None = None) -> jax.Array:
  """The cache's ids with new ones at their positions; see `write`."""
  row, to = _rows(positions_BT, row_B), _places(ids_BS, positions_BT)
  return ids_BS.at[row, to].set(ids_BT, **_HOW)


def write(k_BKHS: jax.Array, v_BKSH: jax.Array, k_BTKH: jax.Array,
          v_BTKH: jax.Array, positions_BT: jax.Array,
          row_B: jax.Array | None = None, *, layer: tuple[Any, ...] = ()
         ) -> tuple[jax.Array, jax.Array]:
  """One layer's cache with new entries at their positions.

  Args:
    k_BKHS: keys of the cache.
    v_BKSH: values of the cache.
    k_BTKH: new keys.
    v_BTKH: new values.
    positions_BT: where they go; a negative one is a pad and goes nowhere.
    row_B: the rows they go to, nowhere if there is no such row; None: row b
      of the new ones to row b of the cache.
    layer: which one, if keys and values are `stacked`.

  Returns:
    (keys, values) of the cache.
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
  """Pads go past the end, where they are dropped: -1 is the last place."""
  return jnp.where(positions_BT < 0, x.shape[-1], positions_BT)


def take(cache: Cache, row_B: jax.Array, length: int) -> Cache:
  """The first `length` entries of some rows, as a cache of their own."""
  return Cache(tuple(k[row_B, :, :, :length] for k in cache.k),
               tuple(v[row_B, :, :length] for v in cache.v),
               cache.ids_BS[row_B, :length])


def put(cache: Cache, part: Cache, row_B: jax.Array,
        positions_BT: jax.Array) -> Cache:
  """The entries of `part` at these positions, written to rows `row_B`."""
  row, at = _rows(positions_BT, None), positions_BT
  head = jnp.arange(part.k[0].shape[1])
  each = row[..., None], head, at[..., None]
  layers = [
      write(k, v, new_k[each[0], head, :, each[2]], new_v[each], at, row_B)
      for k, v, new_k, new_v in zip(cache.k, cache.v, part.k, part.v)]
  k, v = zip(*layers)
  return Cache(k, v, write_ids(cache.ids_BS, part.ids_BS[row, at], at, row_B))


def copy(cache: Cache, from_B: jax.Array, to_B: jax.Array,
         length: int) -> Cache:
  """The first `length` entries of some rows, copied to others."""
  part = take(cache, from_B, length)
  return Cache(
      tuple(k.at[to_B, :, :, :length].set(new, **_HOW)
            for k, new in zip(cache.k, part.k)),
      tuple(v.at[to_B, :, :length].set(new, **_HOW)
            for v, new in zip(cache.v, part.v)),
      cache.ids_BS.at[to_B, :length].set(part.ids_BS, **_HOW))
