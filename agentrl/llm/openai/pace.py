"""Spaces calls out in time."""

from __future__ import annotations


class Pace:
  """Spaces an amount (of requests, or tokens) out evenly, so that no minute of
  the server's clock sees more than allowed.

  Args:
    per_minute: amount allowed a minute; 0 for no limit.
  """

  def __init__(self, per_minute: float):
    self._each_s = 60.0 / per_minute if per_minute else 0.0
    self._free_at = 0.0

  def reserve(self, amount: float, now: float) -> float:
    """Returns seconds from `now` until a call of that amount may start."""
    start = max(now, self._free_at)
    self._free_at = start + amount * self._each_s
    return start - now

  def give_back(self, amount: float) -> None:
    """Returns an unused part of a reserved amount to the limit; negative for an
    amount that was used beyond it."""
    self._free_at -= amount * self._each_s

  def hold(self, until: float) -> None:
    """Lets nothing start before `until`."""
    self._free_at = max(self._free_at, until)
