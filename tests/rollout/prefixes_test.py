"""Shared beginnings."""

import numpy as np

from agentrl.rollout import prefixes

N = prefixes.BLOCK


def test_finds_the_longest_known_beginning():
  known = prefixes.Prefixes()
  ids = np.arange(3 * N + 5)
  known.add(7, ids)
  assert known.find(ids) == (7, 3 * N)
  assert known.find(ids[:N + 1]) == (7, N)
  other = ids.copy()
  other[2 * N] = 0
  assert known.find(other) == (7, 2 * N)
  assert known.find(ids[1:])[1] == 0


def test_a_slot_that_is_overwritten_is_forgotten():
  known = prefixes.Prefixes()
  ids = np.arange(2 * N)
  known.add(0, ids[:N])
  known.add(1, ids)
  assert known.find(ids) == (1, 2 * N)
  known.drop(1)
  assert known.find(ids) == (0, N)
