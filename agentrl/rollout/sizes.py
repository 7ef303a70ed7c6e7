"""The few shapes that an engine's steps are compiled for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

SHORTEST_SPAN = 128


def growing(last: int) -> list[int]:
  """Spans up to `last`, each half as long again as the one before."""
  spans = []
  span = SHORTEST_SPAN
  while span < last:
    spans.append(span)
    span = span * 3 // 2
  return [*spans, last]


def rows(most: int) -> list[int]:
  """Numbers of rows that steps are compiled for."""
  return [most // 4, most] if most >= 8 else [most]


def groups(items: Sequence[Any],
           most: int) -> Iterator[tuple[Sequence[Any], int]]:
  """The items in groups, each with the rows of its step: few rows where two
  such steps, together cheaper than a long one, are enough for the rest."""
  few = rows(most)[0]
  while items:
    size = few if len(items) <= 2 * few else most
    yield items[:size], size
    items = items[size:]


def chunk(count: int, chunks: list[int]) -> int:
  """The chunk to read `count` ids by: one that holds them, unless more than
  a third of it stayed empty; then the largest that they fill."""
  for size in chunks:
    if count <= size <= 1.5 * count:
      return size
  return max((c for c in chunks if c <= count), default=chunks[0])
