"""Streams packed rows as shuffled batches, endless and resumable."""

from __future__ import annotations

from collections.abc import Mapping

import grain
import numpy as np


def iterator(rows: Mapping[str, np.ndarray], *, batch_size: int,
             seed: int) -> grain.DatasetIterator:
  """Returns an iterator over batches of rows, reshuffled each epoch.

  Args:
    rows: arrays [rows, ...], as `data.pack.pack` makes them.
    batch_size: number of rows of a batch.
    seed: seeds the order.

  Returns:
    an iterator of dicts of arrays [batch_size, ...]; `get_state()` and
    `set_state()` are its position, for the checkpoint.

  Raises:
    ValueError: fewer rows than one batch.
  """
  count = len(next(iter(rows.values())))
  if count < batch_size:
    raise ValueError(
        f'{count} packed rows do not fill one batch of {batch_size}: lower '
        'config.batch_size or config.length, or synthesise more dialogues.')
  source = [{k: v[i] for k, v in rows.items()} for i in range(count)]
  # Not endless: the length of an endless one overflows in grain.
  data = grain.MapDataset.source(source).seed(seed).shuffle().repeat(1_000_000)
  read = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
  return iter(data.batch(batch_size).to_iter_dataset(read))
