"""Estimates intervals over tasks, and differences of runs on the same tasks.

Trials of one task are not independent, so the bootstrap draws whole tasks with
all their trials (cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

SAMPLES = 10_000
LEVEL = 0.95


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
  """A mean over tasks with its 95 % interval; NaN where no task counts."""

  value: float
  low: float
  high: float
  tasks: int

  def to_json(self, name: str) -> dict[str, Any]:
    """Returns `name` and `name_interval`, None where no task counts."""
    if not self.tasks:
      return {name: None, f'{name}_interval': None}
    return {name: self.value, f'{name}_interval': [self.low, self.high]}


def mean(value_P: np.ndarray, weight_P: np.ndarray | None = None, *,
         seed: int) -> Estimate:
  """Estimates a weighted mean over tasks, with a percentile bootstrap interval.

  Source: Efron and Tibshirani, An Introduction to the Bootstrap, 13.3.

  Args:
    value_P: value of each task; NaN leaves the task out.
    weight_P: weight of each task, 1 if None. A rate over episodes is the rate
      of each task weighted by its episodes.
    seed: seeds the resampling; the same seed gives the same interval.

  Returns:
    the estimate. If all values are equal the interval has no width: it does not
    cover tasks outside the sample.

  Raises:
    ValueError: shapes disagree.
  """
  value_P = np.asarray(value_P, np.float64)
  weight_P = (np.ones_like(value_P) if weight_P is None
              else np.asarray(weight_P, np.float64))
  if value_P.ndim != 1 or value_P.shape != weight_P.shape:
    raise ValueError(f'Values {value_P.shape} and weights {weight_P.shape} '
                     'must be two lists of equal length, one number a task.')
  counts = ~np.isnan(value_P) & (weight_P > 0)
  value_P, weight_P = value_P[counts], weight_P[counts]
  tasks = len(value_P)
  if not tasks:
    return Estimate(np.nan, np.nan, np.nan, 0)
  drawn = np.random.default_rng(seed).integers(
      tasks, size=(SAMPLES, tasks), dtype=np.int32)
  means = ((value_P * weight_P)[drawn].sum(axis=1)
           / weight_P[drawn].sum(axis=1))
  low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return Estimate(float(np.average(value_P, weights=weight_P)), float(low),
                  float(high), tasks)


def difference(a: Mapping[str, float], b: Mapping[str, float], *,
               seed: int) -> Estimate:
  """Estimates the paired difference b - a over the same tasks.

  Args:
    a: value of each task by its name; NaN where it has none.
    b: the same of the other run.
    seed: seeds the resampling.

  Returns:
    mean of the differences by task; tasks without a value in either run are
    left out.

  Raises:
    ValueError: the runs are not over the same tasks.
  """
  if odd := sorted(set(a) ^ set(b)):
    raise ValueError(
        f'The runs are not over the same tasks: {len(odd)} of them are in one '
        f'only, {odd[0]!r} for one. Evaluate both on the same data folder.')
  names = sorted(a)
  return mean(np.array([b[n] - a[n] for n in names]), seed=seed)


def check_comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
  """Raises ValueError unless two `metrics.json` measured the same thing."""
  if a['measurement'] == b['measurement']:
    return
  parts = [part for part, digest in a['measurement_parts'].items()
           if b['measurement_parts'].get(part) != digest]
  raise ValueError(
      f'Not comparable: measurement {a["measurement"]} is not '
      f'{b["measurement"]}; different: {", ".join(parts)}. Evaluate both '
      'with the same config, tasks and user model.')
