"""Puts lists and amounts into words, for scenarios and dialogues alike."""

from __future__ import annotations

from collections.abc import Iterable


def listed(items: Iterable[str], last: str = 'and') -> str:
  """Joins items by commas, the last one by a word."""
  *most, end = items
  return f'{", ".join(most)} {last} {end}' if most else end


def figure(amount: float) -> str:
  """Formats an amount of money so that it is part of it with or without cents.

  That is the form of a fact to be told: '5' for 5.00, '5.3' for 5.30.
  """
  return f'{amount:.2f}'.rstrip('0').rstrip('.')
