"""The cache, entry by entry."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config

CONFIG = model_config.ModelConfig(9, 2, 4, 2, 2, 2, 4, 8)


def full(rows, length, start=1):
  """A cache in which no two entries are equal."""
  shapes = cache_lib.empty(CONFIG, rows, length)
  leaves, tree = jax.tree.flatten(shapes)
  sizes = np.cumsum([start, *(x.size for x in leaves)])
  return jax.tree.unflatten(tree, [
      jnp.arange(a, a + x.size, dtype=x.dtype).reshape(x.shape)
      for a, x in zip(sizes, leaves)])


def entry(cache, row, position):
  """Everything that the cache holds of one token."""
  return ([np.asarray(k[row, :, :, position]) for k in cache.k]
          + [np.asarray(v[row, :, position]) for v in cache.v]
          + [np.asarray(cache.ids_BS[row, position])])


def same(a, b):
  return all((x == y).all() for x, y in zip(a, b))


def test_written_entries_lie_at_their_positions_and_pads_nowhere():
  k, v = jnp.zeros((2, 2, 2, 5)), jnp.zeros((2, 2, 5, 2))
  new = jnp.arange(1.0, 17).reshape(2, 2, 2, 2)
  positions = jnp.array([[3, -1], [0, 4]])
  k, v = cache_lib.write(k, v, new, -new, positions)
  np.testing.assert_array_equal(k[0, :, :, 3], new[0, 0])
  np.testing.assert_array_equal(k[1, :, :, 0], new[1, 0])
  np.testing.assert_array_equal(k[1, :, :, 4], new[1, 1])
  np.testing.assert_array_equal(jnp.swapaxes(k, 2, 3), -v)
  assert int((k != 0).sum()) == 3 * 4


def test_taken_rows_are_put_back_where_they_came_from():
  cache = full(4, 6)
  part = cache_lib.take(cache, jnp.array([2, 0]), 3)
  assert part.length == 3 and same(entry(part, 0, 1), entry(cache, 2, 1))
  changed = jax.tree.map(lambda x: -x, part)
  back = cache_lib.put(cache, changed, jnp.array([2, 0]),
                       jnp.array([[1, -1], [2, 0]]))
  moved = {(2, 1): (0, 1), (0, 2): (1, 2), (0, 0): (1, 0)}
  for row in range(4):
    for position in range(6):
      source = moved.get((row, position))
      want = entry(changed, *source) if source else entry(cache, row, position)
      assert same(entry(back, row, position), want), (row, position)


def test_rows_past_the_last_take_part_without_harm():
  cache = full(2, 4)
  part = cache_lib.take(cache, jnp.array([1, 2]), 4)
  back = cache_lib.put(cache, jax.tree.map(lambda x: -x, part),
                       jnp.array([2, 2]), jnp.array([[0], [1]]))
  copied = cache_lib.copy(cache, jnp.array([0, 0]), jnp.array([2, 2]), 4)
  for found in (back, copied):
    jax.tree.map(np.testing.assert_array_equal, found, cache)


def test_copies_are_as_long_as_asked():
  cache = full(3, 4)
  found = cache_lib.copy(cache, jnp.array([0]), jnp.array([2]), 2)
  for position in range(4):
    source = 0 if position < 2 else 2
    assert same(entry(found, 2, position), entry(cache, source, position))
    assert same(entry(found, 1, position), entry(cache, 1, position))
