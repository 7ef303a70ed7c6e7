"""The checker decides, the judge can only object, and somebody is at fault."""

import dataclasses
import random

import pytest

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata.check import trajectory
from agentrl.eigendata.plan import planner
from agentrl.envs import replay
from agentrl.llm import llm as llm_lib

PLAN = planner.Plan('x', 'lamp_shop', 'train', (('dim',),), 'brief')


class Opinion:
  """A judge that has made up its mind."""

  def __init__(self, success, fault):
    self.value = {'success': success, 'fault': fault, 'critique': 'because'}

  def complete(self, messages, *, stage, schema=None, tools=(), seed):
    return llm_lib.Answer(types.Message('assistant', ''), self.value)


@pytest.fixture
def gold(context, writer, checked):
  """(env, task, moves) of a task that dims a lamp."""
  source = context.sources['lamp_shop']
  draw = source.draw(PLAN, 1, database=0, other_share=0.0)
  intent, task = checked(source, writer, draw)
  return source.env, task, replay.render(intent.script, random.Random(0))


def verdict(env, task, moves, success=True, fault='none'):
  played = replay.enact(env, task, moves)
  writer = prompts.Writer(Opinion(success, fault), prompts.load())
  return trajectory.validate(writer, env, task, played, plan=PLAN, seed=0)


def test_all_agree(gold):
  assert verdict(*gold) == trajectory.Verdict(None, 'none', 'because')


def test_the_judge_objects(gold):
  found = verdict(*gold, success=False, fault='trajectory')
  assert (found.objection, found.fault) == ('judge objects', 'trajectory')


def test_the_agent_fails(gold):
  env, task, moves = gold
  silent = [m for m in moves if not m.is_call or
            m.tool_calls[0].name != 'set_level']
  found = verdict(env, task, silent, success=False, fault='trajectory')
  assert (found.objection, found.fault) == ('agent fails', 'trajectory')
  assert 'set_level' in found.critique
  assert found.critique.endswith('; because')  # all that there is to mend it by


def test_a_right_dialogue_that_the_checker_fails_is_the_fault_of_the_task(
    gold):
  env, task, moves = gold
  task = dataclasses.replace(
      task, checker='def check(changes, events):\n  return {"no": False}')
  found = verdict(env, task, moves, fault='task')
  assert (found.objection, found.fault, found.critique) == (
      'checker disagrees with judge', 'task', 'no; because')


def test_a_checker_that_breaks(gold):
  env, task, moves = gold
  task = dataclasses.replace(
      task, checker='def check(changes, events):\n  return 1')
  found = verdict(env, task, moves)
  assert (found.objection, found.fault) == ('checker error', 'task')


def test_a_fault_of_the_user_counts_even_if_all_went_well(gold):
  env, task, moves = gold
  bye = dataclasses.replace(moves[-1], content='My old-vase? ###STOP###')
  found = verdict(env, task, [*moves[:-1], bye])
  assert (found.objection, found.fault) == ('user fault', 'trajectory')
  assert found.critique == 'The user made up old-vase.'
  assert found.user_fault == 'made up'


class Unasked:
  """Must not be asked."""


@pytest.mark.parametrize('last, checker, reason', [
    ('My old-vase? ###STOP###', '', 'user fault'),
    ('Bye. ###STOP###', 'def check(changes, events):\n  return 1',
     'checker error')])
def test_what_can_be_told_for_nothing_is_not_paid_for(
    gold, last, checker, reason):
  env, task, moves = gold
  task = dataclasses.replace(task, checker=checker or task.checker)
  bye = dataclasses.replace(moves[-1], content=last)
  played = replay.enact(env, task, [*moves[:-1], bye])
  writer = prompts.Writer(Unasked(), prompts.load())
  assert trajectory.validate(writer, env, task, played, plan=PLAN,
                       seed=0).objection == reason


def test_the_transcript_shows_results():
  call = types.ToolCall('x', {'a': 1})
  assert trajectory.transcript([
      types.Message('user', 'Hi.'),
      types.Message('assistant', tool_calls=(call,)),
      types.Message('tool', 'no', error=True)]) == [
          ['user', 'Hi.'], ['call', 'assistant', 'x', {'a': 1}],
          ['result', 'assistant', 'no', False]]
