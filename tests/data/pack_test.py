"""Packing: every token once, rows never overfull, few shapes."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from agentrl.data import pack


def items(*lengths):
  ids = iter(range(1, 1000))
  return [{'ids': np.array([next(ids) for _ in range(n)], np.int32),
           'target': np.arange(n) % 2 == 1} for n in lengths]


def test_worked_example():
  batch = pack.pack(items(2, 5, 3), length=6)
  np.testing.assert_array_equal(
      batch['ids_BT'], [[3, 4, 5, 6, 7, 0], [8, 9, 10, 1, 2, 0]])
  np.testing.assert_array_equal(
      batch['segments_BT'], [[1, 1, 1, 1, 1, 0], [1, 1, 1, 2, 2, 0]])
  np.testing.assert_array_equal(
      batch['positions_BT'], [[0, 1, 2, 3, 4, 0], [0, 1, 2, 0, 1, 0]])
  np.testing.assert_array_equal(
      batch['target_BT'], [[0, 1, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0]])
  assert batch['target_BT'].dtype == bool
  assert batch['ids_BT'].dtype == np.int32


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_every_token_once(lengths):
  wanted = items(*lengths)
  batch = pack.pack(wanted, length=20)
  assert sorted(batch['ids_BT'][batch['segments_BT'] > 0]) == sorted(
      np.concatenate([item['ids'] for item in wanted]))
  rows = len(batch['ids_BT'])
  # Any two rows together are more than full, or they would have been one.
  assert rows == 1 or rows < 2 * sum(lengths) / 20 + 1


def test_rows_are_filled_up_to_a_bucket():
  batch = pack.pack(items(4, 4, 4), length=4, buckets=(8, 2, 4))
  assert batch['ids_BT'].shape == (4, 4)
  assert not batch['segments_BT'][3].any()


def test_errors_say_how_many_and_what_to_set():
  with pytest.raises(ValueError, match=r'2 of 3 .* row of 4 .* to 9 or more'):
    pack.pack(items(9, 3, 5), length=4)
  with pytest.raises(ValueError, match=r'3 rows .* \[1, 2\]: add a bucket'):
    pack.pack(items(4, 4, 4), length=4, buckets=(1, 2))
  with pytest.raises(ValueError, match='nothing to pack'):
    pack.pack([], length=4)
