"""How often 95 % intervals of pass^k hold the true value, in simulations:

  python benchmarks/interval_bench.py benchmarks/results/intervals.json

Tasks have a chance of success drawn from a Beta distribution, and four trials
each. Beside the interval of `eval/stats.py` stands a percentile bootstrap over
tasks, the usual way.
"""

from __future__ import annotations

import sys

import numpy as np
import origin

from agentrl import files
from agentrl.eval import passk
from agentrl.eval import stats

# Kind of task set -> parameters of the Beta distribution of its tasks.
SHAPES = {'all or nothing': (0.3, 0.3), 'hard': (0.4, 1.6), 'even': (2.0, 2.0)}
TASKS = (20, 40, 114, 250)
TRIALS = 4
RUNS = 400
DRAWS = 400  # of the bootstrap


def moment(a: float, b: float, k: int) -> float:
  """Returns E[p^k] of a Beta distribution."""
  i = np.arange(k)
  return float(np.prod((a + i) / (a + b + i)))


def bootstrap(value_P: np.ndarray, rng: np.random.Generator
             ) -> tuple[float, float]:
  """Returns the percentile interval of the mean of values."""
  tasks = len(value_P)
  count_BP = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=DRAWS)
  low, high = np.quantile(count_BP @ value_P / tasks, [0.025, 0.975])
  return float(low), float(high)


def coverage(shape: str, tasks: int, k: int) -> dict[str, float | str | int]:
  """Returns the shares [%] of runs whose intervals hold the true value."""
  rng, (a, b) = np.random.default_rng(0), SHAPES[shape]
  true, hits = moment(a, b, k), np.zeros(2)
  for _ in range(RUNS):
    wins_P = rng.binomial(TRIALS, rng.beta(a, b, size=tasks))
    value_P = passk.pass_hat_k(wins_P, np.full(tasks, TRIALS), k)
    ours, (low, high) = stats.share(value_P), bootstrap(value_P, rng)
    hits += ours.low <= true <= ours.high, low <= true <= high
  ours_, theirs = (round(100 * float(h) / RUNS, 1) for h in hits)
  return {'tasks are': shape, 'tasks': tasks, 'k': k,
          'covered_percent': ours_, 'bootstrap_covered_percent': theirs}


def main(path: str) -> None:
  rows = [coverage(shape, tasks, k)
          for shape in SHAPES for tasks in TASKS for k in (1, 4)]
  covered = [row['covered_percent'] for row in rows]
  usual = [row['bootstrap_covered_percent'] for row in rows]
  files.write_json(path, {
      **origin.facts('Coverage of 95 % intervals of pass^k'), 'seed': 0,
      'runs': RUNS, 'least_percent': min(covered), 'most_percent': max(covered),
      'bootstrap_least_percent': min(usual),
      'bootstrap_most_percent': max(usual), 'rows': rows})
  for row in rows:
    print(row)


if __name__ == '__main__':
  main(sys.argv[1])
