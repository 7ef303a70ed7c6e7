"""Chooses the few shapes that an engine's programs are compiled for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

SHORTEST_SPAN = 128


def growing(last: int) -> list[int]:
  """Returns spans up to `last`, each half as long again as the one before."""
  spans = []
  span = SHORTEST_SPAN
  while span < last:
    spans.append(span)
    span = span * 3 // 2
  return [*spans, last]


def rows(most: int) -> list[int]:
  """Returns the numbers of rows, `most` at most, that are compiled."""
  return [most // 4, most] if most >= 8 else [most]


def groups(items: Sequence[Any],
           most: int) -> Iterator[tuple[Sequence[Any], int]]:
  """Yields the items in groups, each with the number of rows of its call.

  A call of few rows is chosen where two of them, together cheaper than one of
  `most`, are enough for the rest.
  """
  few = rows(most)[0]
  while items:
    size = few if len(items) <= 2 * few else most
    yield items[:size], size
    items = items[size:]


def chunk(count: int, chunks: list[int]) -> int:
  """Returns the chunk size to read `count` ids by.

  The smallest that holds them, unless more than a third of it stayed empty;
  then the largest that they fill.
  """
  for size in chunks:
    if count <= size <= 1.5 * count:
      return size
  return max((c for c in chunks if c <= count), default=chunks[0])
