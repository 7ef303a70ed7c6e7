"""Plans do not overlap, and the splits share no combination."""

import itertools
import json

import pytest

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import source
from agentrl.eigendata.plan import planner
from agentrl.envs import load as env_load
from agentrl.llm import llm as llm_lib
from agentrl.llm.stand_in import actor
from agentrl.llm.stand_in import procedural

FAMILIES = {'orders': [f'f{i}' for i in range(12)], 'router': list('abcdef')}
RULES = procedural.Procedural(dict.fromkeys(procedural.MISTAKEN, 0.0))


def write(weights, split='train', families=FAMILIES, pairs=64, llm=RULES):
  writer = prompts.Writer(llm_lib.Meter(llm), prompts.load())
  return planner.write(writer, families, split, weights, known={}, pairs=pairs,
                       seed=0)


class Scripted:
  """A planner that answers what it is told to, and remembers its prompts."""

  def __init__(self, *records):
    self.records, self.asked = list(records), []

  def complete(self, messages, *, schema, tools=(), seed):
    self.asked.append(messages[0].content)
    plan = self.records.pop(0) if self.records else None
    return llm_lib.Answer(types.Message('assistant', ''), {'plan': plan})


def record(**fields):
  return {'domain': 'router', 'demands': 1, 'families': list('abc'),
          'style': 'brief', 'rubric': [], 'failures': [], **fields}


def combinations(plans):
  return {(p.domain, c) for p in plans for c in p.combinations}


def test_splits_share_no_combination_and_leave_none_out():
  train = combinations(write((0, 1, 1)))
  test = combinations(write((0, 1, 1), 'test'))
  every = {(d, c) for d, names in FAMILIES.items() for n in (2, 3)
           for c in itertools.combinations(sorted(names), n)}
  assert train | test == every and not train & test
  assert 0.2 < len(test) / len(every) < 0.4


def test_single_demands_are_in_both_splits():
  singles = {(d, (f,)) for d, names in FAMILIES.items() for f in names}
  for split in ('train', 'test'):
    assert combinations(write((1,), split)) == singles


def test_a_combination_is_held_out_whatever_its_order():
  for pair in itertools.permutations(FAMILIES['orders'], 2):
    assert planner.held_out(pair) == planner.held_out(pair[::-1])


def test_plans_do_not_overlap_and_weigh_what_was_asked():
  weights = (0.5, 0.3, 0.2)
  plans = write(weights)
  assert len({p.id for p in plans}) == len(plans) == 2 * 3 * 4
  assert all(p.overlap == 0 for p in plans)
  found = planner.weigh(plans, weights)
  assert sum(found) == pytest.approx(1)
  pairs = sum(w for p, w in zip(plans, found) if p.demands == 2)
  assert pairs == pytest.approx(0.3)


def test_few_plans_lie_far_apart():
  plans = write((1, 1, 1), pairs=4)
  assert len(plans) == 4
  assert {p.domain for p in plans} == set(FAMILIES)
  for a, b in itertools.combinations(plans, 2):
    assert sum((a.domain != b.domain, a.demands != b.demands,
                a.style != b.style)) >= 2


def test_what_an_earlier_plan_has_is_counted_and_taken_out():
  llm = Scripted(record(), record(families=list('cdef')))
  first, second = sorted(write((1,), llm=llm), key=lambda p: p.overlap)
  assert first.overlap == 0 and second.overlap == 0.25
  assert planner.overlaps([first, second]) == {'pairs': 2, 'overlap': 0.125}
  assert second.combinations == (('d',), ('e',), ('f',))
  assert first.id == 'router/1/brief' and second.id == 'router/1/brief/2'


@pytest.mark.parametrize('fields, critique', [
    ({'domain': 'bank'}, "there is no domain 'bank', but"),
    ({'style': 'rude'}, "there is no style 'rude', but"),
    ({'demands': 2}, 'there is no number of demands 2, but'),
    ({'families': ['a', 'z']}, "router has no families ['z']"),
    ({'families': list('abc')}, '100% of its 3 combinations'),
])
def test_an_unfit_plan_is_turned_down_with_a_critique(fields, critique):
  llm = Scripted(record(), record(**fields), record(style='polite'))
  plans = write((1,), llm=llm)
  assert [p.style for p in plans] == ['polite', 'brief']
  assert 'turned down' not in llm.asked[1]
  told = llm.asked[2].partition('turned down: ')[2]
  assert told.startswith(critique)


def test_no_plan_at_all_is_an_error_before_anybody_is_asked():
  llm = Scripted()
  with pytest.raises(ValueError, match='No plan is left'):
    write((0, 1), families={'orders': ['a']}, llm=llm)
  assert not llm.asked


def test_the_stand_in_has_words_for_every_style():
  assert set(actor.FILLERS) == {*planner.STYLES, 'agent'}


def test_the_planner_sees_policy_tools_and_tables(config):
  config()
  env = env_load.load('lamp_shop', {})
  llm = Scripted()
  with pytest.raises(ValueError, match='No plan for'):
    planner.write(prompts.Writer(llm_lib.Meter(llm), prompts.load()),
                  {'lamp_shop': env.demand_tools()}, 'train', [1],
                  known={'lamp_shop': source.describe(env)}, pairs=1, seed=0)
  seen = json.loads(llm.asked[0].splitlines()[-1])['about']['lamp_shop']
  assert seen['policy'] == env.policy
  assert seen['tools']['assistant']['set_level'] == 'Sets the level.'
  assert 'plug' in seen['tools']['user']
  assert seen['tables']['lamps'] == {
      'records': 9, 'fields': ['owner', 'level', 'plugged', 'broken']}
