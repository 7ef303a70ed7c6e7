"""The workflow planner: non-overlapping pairs of plans, by enumeration.

A synthesis plan says what to write: which combinations of demand families, how
many demands, which style of user. Its evaluation plan says what to look for in
what was written. No two plans share a (domain, number, style), and no
combination of two or more families is in both splits. Single demands may be in
both, on other entities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import itertools

HELD_OUT = 0.3  # of the combinations, for the split `test`
STYLES = {'polite': 'You are polite.', 'chatty': 'You are chatty.',
          'hurried': 'You are in a hurry.', 'brief': 'You are brief.'}
RUBRIC = (
    'Every demand was met, or refused or handed over for the true reason.',
    'Every call has the right arguments; none is needless.',
    'Each change was named to the user and agreed to before it was made.',
    'All that the user was told is true.')
FAILURES = (
    'wrong argument', 'skipped confirmation', 'forgotten demand',
    'doubled write', 'wrong fact', 'premature refusal', 'user forgot a demand',
    'user made something up', 'user left early')


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
  """A synthesis plan and its evaluation plan.

  Attributes:
    id: domain/number/style.
    domain: what it writes for.
    split: `train` or `test`.
    combinations: sets of families, one of which a task is composed of.
    style: of the user, a key of `STYLES`.
    rubric: what a good dialogue keeps to.
    failures: kinds of mistakes to watch for.
  """

  id: str
  domain: str
  split: str
  combinations: tuple[tuple[str, ...], ...]
  style: str
  rubric: tuple[str, ...] = RUBRIC
  failures: tuple[str, ...] = FAILURES


def held_out(combination: Sequence[str]) -> bool:
  """True if a set of families is met in the split `test` only."""
  text = '+'.join(sorted(combination))
  number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big')
  return len(combination) > 1 and number < HELD_OUT * 2**32


def plans(families: Mapping[str, Sequence[str]], split: str,
          weights: Sequence[float]) -> dict[Plan, float]:
  """Every plan of a split, and how often it is drawn.

  Args:
    families: domain -> names of its demand families.
    split: `train` or `test`.
    weights: of tasks with 1, 2, .. demands.

  Raises:
    ValueError: no plan has a weight.
  """
  found = {}
  for domain, names in families.items():
    for number, weight in enumerate(weights, 1):
      sets = tuple(c for c in itertools.combinations(sorted(names), number)
                   if number == 1 or held_out(c) == (split == 'test'))
      for style in STYLES if sets and weight else ():
        plan = Plan(f'{domain}/{number}/{style}', domain, split, sets, style)
        found[plan] = weight / len(STYLES) / len(families)
  if not found:
    raise ValueError(f'No plan is left for split {split!r}: demand weights '
                     f'{tuple(weights)} over families {dict(families)}.')
  return found
