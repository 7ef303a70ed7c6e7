"""Plans do not overlap, and the splits share no combination."""

import itertools

import pytest

from agentrl.eigendata import planner
from agentrl.llm import actor

FAMILIES = {'orders': [f'f{i}' for i in range(12)], 'router': list('abcdef')}


def combinations(plans):
  return {(p.domain, c) for p in plans for c in p.combinations}


def test_splits_share_no_combination_and_leave_none_out():
  train = combinations(planner.plans(FAMILIES, 'train', (0, 1, 1)))
  test = combinations(planner.plans(FAMILIES, 'test', (0, 1, 1)))
  every = {(d, c) for d, names in FAMILIES.items() for n in (2, 3)
           for c in itertools.combinations(sorted(names), n)}
  assert train | test == every and not train & test
  assert 0.2 < len(test) / len(every) < 0.4


def test_single_demands_are_in_both_splits():
  singles = {(d, (f,)) for d, names in FAMILIES.items() for f in names}
  for split in ('train', 'test'):
    assert combinations(planner.plans(FAMILIES, split, (1,))) == singles


def test_a_combination_is_held_out_whatever_its_order():
  for pair in itertools.permutations(FAMILIES['orders'], 2):
    assert planner.held_out(pair) == planner.held_out(pair[::-1])


def test_plans_do_not_overlap_and_weigh_what_was_asked():
  plans = planner.plans(FAMILIES, 'train', (0.5, 0.3, 0.2))
  assert len({p.id for p in plans}) == len(plans) == 2 * 3 * 4
  assert sum(plans.values()) == pytest.approx(1)
  pairs = sum(w for p, w in plans.items() if '/2/' in p.id)
  assert pairs == pytest.approx(0.3)


def test_no_plan_at_all_is_an_error():
  with pytest.raises(ValueError, match='No plan is left'):
    planner.plans({'orders': ['a']}, 'train', (0, 1))


def test_the_stand_in_has_words_for_every_style():
  assert set(actor.FILLERS) == {*planner.STYLES, 'agent'}
