"""The stream of batches: every row once an epoch, and resumable anywhere."""

import numpy as np
import pytest

from agentrl.data import batches

ROWS = {'x_B': np.arange(12), 'y_BT': np.zeros((12, 3))}


def stream(seed=0):
  return batches.iterator(ROWS, batch_size=4, seed=seed)


def take(data, count):
  return [next(data)['x_B'].tolist() for _ in range(count)]


def test_each_epoch_has_every_row_once_in_another_order():
  taken = take(stream(), 6)
  first, second = sum(taken[:3], []), sum(taken[3:], [])
  assert sorted(first) == sorted(second) == list(range(12))
  assert first != second and first != take(stream(1), 3)


def test_it_goes_on_where_it_was():
  data = stream()
  take(data, 2)
  position = data.get_state()
  rest = take(data, 4)
  again = stream()
  again.set_state(position)
  assert take(again, 4) == rest


def test_too_few_rows_are_refused():
  with pytest.raises(ValueError, match='12 packed rows do not fill .* 13'):
    batches.iterator(ROWS, batch_size=13, seed=0)
