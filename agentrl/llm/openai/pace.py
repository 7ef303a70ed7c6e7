"""When the next call may start."""

from __future__ import annotations


class Pace:
  """At most so many a minute (requests, or tokens), evenly: no minute of the
  server's own, wherever it begins, sees more of them.

  Args:
    per_minute: 0 for as many as one likes.
  """

  def __init__(self, per_minute: float):
    self._each_s = 60.0 / per_minute if per_minute else 0.0
    self._free_at = 0.0

  def reserve(self, amount: float, now: float) -> float:
    """Seconds from `now` until a call of that amount may start."""
    start = max(now, self._free_at)
    self._free_at = start + amount * self._each_s
    return start - now

  def give_back(self, amount: float) -> None:
    """Of a reserved amount, what was not used (negative: used beyond it)."""
    self._free_at -= amount * self._each_s

  def hold(self, until: float) -> None:
    """Nothing starts before `until`."""
    self._free_at = max(self._free_at, until)
