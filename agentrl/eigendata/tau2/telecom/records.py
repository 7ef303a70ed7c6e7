"""Applies the policy of tau2-bench telecom to lines, plans and bills.

Records are plain JSON, as the agent's tools show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TODAY = '2025-02-25'  # according to the policy
MOST_GB = 2.0  # data that may be refuelled

Record = Mapping[str, Any]


def likeliest_lines(line_ids: Iterable[str], number: str) -> list[str]:
  """Sorts line ids: those with the last digits of a phone number first."""
  return sorted(line_ids, key=lambda key: key[-3:] != number[-3:])


def has_ended(line: Record) -> bool:
  """Returns whether the contract of a line has ended."""
  return line['contract_end_date'] < TODAY


def has_data(plan: Record, line: Record) -> bool:
  """Returns whether a line on this plan has data left."""
  left_gb = (plan['data_limit_gb'] + line['data_refueling_gb']
             - line['data_used_gb'])
  return left_gb > 0


def may_refuel(line: Record) -> bool:
  """Returns whether data may be added to a line."""
  return line['data_refueling_gb'] < MOST_GB
