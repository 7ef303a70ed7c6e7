"""Packs sequences of many lengths into rows of one length, for SFT and RL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def assign(lengths: Sequence[int], length: int) -> list[list[int]]:
  """Assigns items to rows: first-fit, the longest first.

  Source: first-fit decreasing, at most 11/9 of the fewest rows + 6/9
  (Dosa, 2007).

  Args:
    lengths: length of each item [tokens].
    length: length of a row [tokens].

  Returns:
    indices of the items of each row; the same lengths in the same order always
    give the same rows.

  Raises:
    ValueError: an item is longer than a row.
  """
  long = [n for n in lengths if n > length]
  if long:
    raise ValueError(
        f'{len(long)} of {len(lengths)} sequences are longer than a row of '
        f'{length} tokens (the longest has {max(long)}): set the row length '
        f'to {max(long)} or more, or drop them first.')
  rows = []
  room = np.full(len(lengths), length)  # [tokens] of each row, used or not
  for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
    row = int(np.argmax(room >= lengths[i]))
    if row == len(rows):
      rows.append([])
    rows[row].append(i)
    room[row] -= lengths[i]
  return rows


def pack(items: Sequence[Mapping[str, np.ndarray]], *, length: int,
         buckets: Sequence[int] = ()) -> dict[str, np.ndarray]:
  """Packs items into rows [B, T].

  Args:
    items: each a dict of arrays of one length [T]; the same names and types in
      all.
    length: T of the rows [tokens].
    buckets: numbers of rows that a batch may have: empty rows fill it up to the
      next one, so that a jitted update sees few shapes. Empty: as many rows as
      needed.

  Returns:
    `{name}_BT` for each name of the items, in its type; `positions_BT` (int32,
    0 at the start of each item) and `segments_BT` (int32; 1, 2, ... in a row);
    all 0 where no item stands.

  Raises:
    ValueError: no items, one longer than a row, or more rows than the largest
      bucket.
  """
  if not items:
    raise ValueError('There is nothing to pack: got no items. Was everything '
                     'filtered out?')
  lengths = [len(next(iter(item.values()))) for item in items]
  rows = assign(lengths, length)
  shape = (bucket(len(rows), buckets) if buckets else len(rows), length)
  batch = {f'{name}_BT': np.zeros(shape, np.asarray(x).dtype)
           for name, x in items[0].items()}
  batch['positions_BT'] = np.zeros(shape, np.int32)
  batch['segments_BT'] = np.zeros(shape, np.int32)
  for b, row in enumerate(rows):
    start = 0
    for segment, i in enumerate(row, 1):
      span = slice(start, start + lengths[i])
      for name, x in items[i].items():
        batch[f'{name}_BT'][b, span] = x
      batch['positions_BT'][b, span] = np.arange(lengths[i])
      batch['segments_BT'][b, span] = segment
      start = span.stop
  return batch


def bucket(count: int, sizes: Sequence[int]) -> int:
  """Returns the smallest of `sizes` that holds `count` rows.

  Raises:
    ValueError: none does.
  """
  fitting = [size for size in sizes if size >= count]
  if not fitting:
    raise ValueError(f'{count} rows do not fit into any of the row buckets '
                     f'{sorted(sizes)}: add a bucket of {count} or more, or '
                     'make the rows longer.')
  return min(fitting)
