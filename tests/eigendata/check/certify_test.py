"""A certificate is earned by a right checker and by no other."""

import dataclasses
import random

import pytest

from agentrl import types
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import mutants
from agentrl.eigendata.plan import planner
from agentrl.envs import replay


@pytest.fixture
def drafted(context, writer, checked):
  """`drafted(*families)`: (source, task, intent) of the families, in order."""
  def make(*families, kind='do', split='train'):
    source = context.sources['lamp_shop']
    plan = planner.Plan('x', 'lamp_shop', split, (families,), 'brief')
    for seed in range(500):
      draw = source.draw(plan, seed, database=0,
                         other_share=float(kind != 'do'))
      if tuple(d.family for d in draw.drafts) == families:
        intent, task = checked(source, writer, draw)
        return source, task, intent
    raise AssertionError(f'No task of {families}.')
  return make


def certificate(source, task, intent, checker=None):
  if checker is not None:
    task = dataclasses.replace(task, checker=checker)
  return certify.certify(source.env, task, 0, way_known=True,
                         script=intent.script)


def problems_of(source, task, intent, checker=None):
  """What speaks against the checker, in words."""
  return [p.detail for p in certificate(source, task, intent, checker)[1]]


def test_worked_example(drafted):
  source, task, intent = drafted('dim')
  moves = replay.render(intent.script, random.Random(0))
  names = [m.name.partition('=')[0]
           for m in mutants.make(
               source.env, task, moves, random.Random(0), way_known=True)]
  level = intent.demands[0].tell[0]
  assert names == ['set_level deleted', 'set_level doubled', 'set_level(lamp',
                   'set_level(level', 'set_level unasked',
                   'find_person left out', f"'{level}' untold",
                   'transfer_to_human unwanted', 'another set_level unwanted']
  # The tool refuses the level that it has set already.
  assert certificate(source, task, intent) == (types.Certificate(
      gold=(True,) * 4, orders=(),
      floors={'noop': False, 'refuse': False, 'transfer': False}, mutants=9,
      killed=8, equivalent=1, survivors=(), score=1.0,
      fingerprint=source.env.fingerprint()), ())


def test_no_wording_may_be_asked_for_to_the_letter(drafted):
  source, task, intent = drafted('dim')
  beat = next(b for b in intent.script
              if b.by == 'assistant' and len(set(b.say)) > 1)
  for text in beat.say:
    clause = f"      'verbatim':\n          said(events, {text.lower()!r}),\n"
    checker = task.checker.replace('  return {\n', '  return {\n' + clause)
    assert checker != task.checker
    problems = problems_of(source, task, intent, checker)
    assert any('gold run fails' in p for p in problems), text


def test_a_checker_that_counts_its_calls_gains_nothing(drafted):
  source, task, intent = drafted('dim')
  checker = """
try:
  calls
except NameError:
  calls = []
def check(changes, events):
  calls.append(1)
  return {'one of the first': len(calls) <= 4}"""
  problems = problems_of(source, task, intent, checker)
  assert 'it passes to noop' in problems


@pytest.mark.parametrize('clause, problem', [
    ("'set_level of", 'set_level unasked'),
    ("'told: level", 'untold'),
    ("'find_person before set_level'", 'find_person left out'),
])
def test_a_clause_that_is_left_out_is_missed(drafted, clause, problem):
  source, task, intent = drafted('dim')
  lines = task.checker.split('\n')
  cut = {i + k for i, line in enumerate(lines) for k in (0, 1)
         if clause in line}
  checker = '\n'.join(line for i, line in enumerate(lines) if i not in cut)
  found, (only,) = certificate(source, task, intent, checker)
  assert problem in only.detail and problem.endswith(only.kind)
  assert only.passes_wrongly and found.score < 1


@pytest.mark.parametrize('checker, problem', [
    ('return {"yes": True}', 'passes to noop'),
    ('return {"no": False}', 'gold run fails in wording 0'),
    ('return {"no": changes["lamps.none.level"] == 1}', 'checker breaks'),
    ('return {"lazy": len(changes["lamps.none.level"]) if 0 else True}',
     'passes to refuse'),
    ('return {"one": len(changes) == 1, "told": said(events, "level")}',
     'passes with set_level(l'),
    ('return {"words": said(events, "done, ")}', 'gold run fails'),
    ('return 1', 'checker breaks'),
    ('while True: pass', 'checker breaks'),
])
def test_a_wrong_checker_is_caught(drafted, checker, problem):
  source, task, intent = drafted('dim')
  problems = problems_of(source, task, intent,
                         f'def check(changes, events):\n  {checker}')
  assert any(problem in p for p in problems)


def test_a_checker_that_breaks_on_bad_runs_only_is_caught(drafted):
  source, task, intent = drafted('dim')
  path = next(p for p in task.checker.split("'") if p.startswith('lamps.'))
  found, problems = certificate(source, task, intent, (
      'def check(changes, events):\n'
      f'  return {{"a": changes[{path.split(" ")[0]!r}] > 0}}'))
  assert found is None
  assert [p.kind for p in problems] == [certify.ProblemKind.BREAKS]


def test_handing_over_may_pass_only_where_it_is_the_task(drafted):
  lazy = """def check(changes, events):
    return {'handed over': changes.get('desk.call.reason') == 'sale'}"""
  source, task, intent = drafted('sell', kind='transfer')
  assert certificate(source, task, intent)[0].floors['transfer'] is False
  found, _ = certificate(source, task, intent, lazy)
  assert found.floors == {'noop': False, 'refuse': False, 'transfer': True}
  problems = problems_of(source, task, intent, lazy)
  assert 'it passes with find_person left out' in problems
  assert 'it passes to transfer' not in problems
  source, task, intent = drafted('dim', 'sell', kind='transfer')
  assert problems_of(source, task, intent) == []
  assert 'it passes to transfer' in problems_of(source, task, intent, lazy)


def test_a_user_call_that_is_repeated_is_equivalent(drafted):
  source, task, intent = drafted('dark')
  found, problems = certificate(source, task, intent)
  assert problems == ()
  # Deleted, another lamp, untold and an unwanted hand-over are killed; doubled
  # changes nothing.
  assert (found.killed, found.equivalent) == (4, 1)


def test_the_order_of_demands_is_free_where_the_end_is_the_same(drafted):
  source, task, intent = drafted('dim', 'dark')
  found, problems = certificate(source, task, intent)
  assert found.orders == (True,) and problems == ()
  calls = [a.name for a in task.criteria.actions if a.info == 'write']
  strict = f"""def check(changes, events):
    return {{'in order': before(events, {calls[0]!r}, {calls[1]!r})}}"""
  found, problems = certificate(source, task, intent, strict)
  assert found.orders == (False,) and all(found.gold)
  assert certify.Problem(
      certify.ProblemKind.GOLD_FAILS,
      'the gold run fails with its demands in another order') in problems
  source, task, intent = drafted('dim', 'sell', kind='transfer')
  assert certificate(source, task, intent)[0].orders == ()
