"""A run that breaks the policy fails, though a tool would carry it out."""

import dataclasses
import random

import pytest

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import mutants
from agentrl.eigendata.plan import planner
from agentrl.envs import load as env_load
from agentrl.envs import replay


@pytest.fixture
def drafted(make_context, checked):
  """`drafted(name, family, kind)`: (source, task, script) of one demand."""
  context = make_context(domains=['orders', 'router'])
  writer = prompts.Writer(context.llm, prompts.load())
  def make(name, family, kind, fits=lambda demand: True):
    source = context.sources[name]
    plan = planner.Plan('x', name, 'train', ((family,),), 'brief')
    for seed in range(400):
      try:
        draw = source.draw(plan, seed, database=0,
                           other_share=float(kind != 'do'))
      except rejection.SampleRejected:
        continue
      if draw.drafts[0].kind == kind and fits(draw.drafts[0]):
        intent, task = checked(source, writer, draw)
        return source, task, intent.script
    raise AssertionError(f'No {kind} of {family}.')
  return make


def made(source, task, script):
  gold = replay.render(script, random.Random(0))
  return gold, {m.name: m for m in mutants.make(
      source.env, task, gold, random.Random(0), way_known=True)}


def problems_of(source, task, script):
  _, problems = certify.certify(source.env, task, 0, way_known=True,
                                script=script)
  return [p.detail for p in problems]


def without(task, *clauses):
  """The task with a checker that lacks clauses of these words."""
  lines = task.checker.split('\n')
  cut = {at + k for at, line in enumerate(lines) for k in (0, 1)
         if any(clause in line for clause in clauses)}
  assert cut
  return dataclasses.replace(task, checker='\n'.join(
      line for at, line in enumerate(lines) if at not in cut))


@pytest.mark.parametrize('name, carried_out', [
    ('orders', {'cancel_order', 'return_order', 'exchange_order',
                'change_city', 'refund_charge', 'give_credit', 'reship_order',
                'transfer_to_human'}),
    ('router', {'pay_bill', 'reset_line', 'change_plan', 'apply_credit',
                'book_visit', 'cancel_visit', 'pause_service', 'move_service',
                'transfer_to_human'})])
def test_tools_would_carry_out_what_is_forbidden(name, carried_out):
  env, found = env_load.load(name, {'prompt': 'brief'}), {}
  rng = random.Random(0)
  world = env.start(types.Task('', name, '', initial_state={
      'seed': 0, 'split': 'train'}))
  for caller in env.drafts.callers(world.state):
    for demand in filter(None, (family(world.state, caller, rng)
                                for family in env.drafts.FAMILIES)):
      assert not [b for b in demand.forbidden if b in demand.beats]
      assert demand.forbidden or demand.kind != 'refuse'
      for beat in demand.forbidden:
        result, = world.execute([types.ToolCall(beat.call, beat.arguments)])
        found[beat.call] = found.get(beat.call, False) | (not result.error)
        world.state.rewind({})
  assert {call for call, done in found.items() if done} == carried_out


def test_a_parcel_on_time_earns_nothing(drafted):
  source, task, script = drafted('orders', 'parcel', 'refuse')
  gold, found = made(source, task, script)
  assert [n for n in found if 'forbidden' in n] == [
      'give_credit forbidden', 'reship_order forbidden',
      'transfer_to_human forbidden',
      'give_credit, reship_order, transfer_to_human forbidden']
  broken = found['reship_order forbidden'].moves
  assert broken[:-2] == gold[:-1] and broken[-1] == gold[-1]
  assert broken[-2].tool_calls[0].name == 'reship_order'
  assert problems_of(source, task, script) == []
  lazy = without(task, 'nothing else', 'done 0x')
  problems = problems_of(source, lazy, script)
  assert 'it passes with give_credit forbidden' in problems


def test_a_fraud_is_handed_over_and_not_paid(drafted):
  source, task, script = drafted(
      'orders', 'charged', 'transfer', lambda demand: (
          'refund_charge' in [b.call for b in demand.forbidden]))
  gold, found = made(source, task, script)
  instead = found['refund_charge forbidden, instead'].moves
  calls = [c.name for m in instead for c in m.tool_calls]
  assert len(instead) == len(gold) and calls[-1] == 'refund_charge'
  assert 'transfer_to_human' not in calls
  assert problems_of(source, task, script) == []


def test_a_change_that_is_undone_is_seen(drafted):
  """The state shows nothing of it."""
  source, task, script = drafted('router', 'new_plan', 'refuse', lambda d: (
      [b.call for b in d.forbidden[:2]] == ['change_plan'] * 2))
  gold, found = made(source, task, script)
  row = found['change_plan, change_plan, transfer_to_human forbidden']
  moves = [m for m in row.moves if not any(
      c.name == 'transfer_to_human' for c in m.tool_calls)]
  world, played = replay.replay(source.env, task, moves)
  assert world.state.changes() == replay.replay(
      source.env, task, gold)[0].state.changes()
  assert source.env.score(task, world, played, 'user_stop').reward == 0
  lax = without(task, 'done 0x')
  assert source.env.score(lax, world, played, 'user_stop').reward == 1


def test_a_write_that_no_demand_is_about(drafted):
  source, task, script = drafted('router', 'new_plan', 'do')
  assert problems_of(source, task, script) == []
  lazy = without(task, 'nothing else')
  problem, = problems_of(source, lazy, script)
  assert problem.endswith(' unwanted')


def test_a_second_write_by_the_same_tool_is_unwanted(drafted):
  """The customer asked to cancel one order; another one is cancelled too."""
  source, task, script = drafted('orders', 'undo', 'do')
  gold, found = made(source, task, script)
  call, other = (move.tool_calls[0] for move in (
      gold[task.gold.writes[0]],
      found['another cancel_order unwanted'].moves[-2]))
  assert other.name == call.name and other.arguments != call.arguments
  assert problems_of(source, task, script) == []
  lazy = without(task, 'nothing else', 'done 1x')
  problems = problems_of(source, lazy, script)
  assert 'it passes with another cancel_order unwanted' in problems


def test_an_older_yes_does_not_count(drafted):
  """It was named, and the user spoke: but nobody asked whether to do it."""
  source, task, script = drafted('orders', 'undo', 'fallback')
  gold, found = made(source, task, script)
  hasty = found['return_order unasked'].moves
  at = next(i for i, m in enumerate(hasty)
            for c in m.tool_calls if c.name == 'return_order')
  order = hasty[at].tool_calls[0].arguments['order']
  assert len(hasty) == len(gold) - 2 and hasty[at - 1].role == 'user'
  assert order in hasty[at - 2].content
  assert problems_of(source, task, script) == []
  problems = problems_of(source, without(task, 'was agreed'), script)
  assert problems == ['it passes with return_order unasked']


def test_a_report_between_two_calls_of_one_yes(drafted):
  """The policy: once it is paid, resume the account without asking again."""
  source, task, script = drafted('router', 'pay', 'do', lambda demand: (
      'resume_service' in [b.call for b in demand.beats]))
  gold = replay.render(script, random.Random(0))
  paid, resumed = (next(
      i for i, m in enumerate(gold) for c in m.tool_calls if c.name == name)
                   for name in ('pay_bill', 'resume_service'))
  assert resumed == paid + 1 and gold[paid - 1].role == 'user'
  talk = [types.Message('assistant', 'Thanks, that is paid.'),
          types.Message('user', 'Good.', requestor='user')]
  def reward(moves):
    world, played = replay.replay(source.env, task, moves)
    return source.env.score(task, world, played, 'user_stop').reward
  assert reward(gold) == reward([*gold[:resumed], *talk, *gold[resumed:]]) == 1
  assert reward([*gold[:paid], *talk, *gold[paid:]]) == 0
  assert problems_of(source, task, script) == []


def test_two_calls_that_both_bring_something_of_their_own(drafted):
  _, task, _ = drafted('router', 'pause', 'do', lambda demand: (
      'cancel_visit' in [b.call for b in demand.beats]))
  agreed = [(task.gold.moves[i].tool_calls[0].name, value)
            for i, value in task.gold.agreed]
  account = agreed[0][1]
  assert agreed[:2] == [('cancel_visit', account), ('pause_service', account)]
  assert agreed[2][0] == 'pause_service' and agreed[2][1].isdigit()


@pytest.mark.parametrize('family', ['slow', 'connection'])
def test_a_wording_that_has_another_is_missing_from_a_gold_run(
    drafted, family):
  """Even one that a long exchange has in several places."""
  _, _, script = drafted('router', family, 'do')
  _, *same = certify._worded(script, random.Random(0))
  first, last = ({m.content for m in moves} for moves in same)
  texts = {text for beat in script if not beat.call
           and len(set(beat.say)) > 1 for text in beat.say}
  assert texts and not texts & first & last
