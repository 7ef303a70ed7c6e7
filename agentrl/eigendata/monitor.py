"""Monitored scale-up: a stream whose acceptance falls writes no more."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from agentrl.eigendata import sample as sample_lib


def stopped(samples: Sequence[sample_lib.Sample], *, window: int,
            floor: float) -> frozenset[str]:
  """Streams that are to stop.

  A stream stops when the acceptance of some `window` samples of it in a row,
  past its first `window`, is below `floor` times that of the first. Once
  stopped it stays so, since its samples do.

  Args:
    samples: all so far, in order.
    window: samples; callers that were not found do not count.
    floor: of the stream's own first acceptance.
  """
  kept = collections.defaultdict(list)
  for s in samples:
    if s.worker != 'RandomPool':
      kept[s.stream].append(s.task is not None)
  return frozenset(name for name, flags in kept.items()
                   if _fell(flags, window, floor))


def _fell(flags: Sequence[bool], window: int, floor: float) -> bool:
  first = sum(flags[:window])
  return any(sum(flags[i:i + window]) < floor * first
             for i in range(window, len(flags) - window + 1, window))
