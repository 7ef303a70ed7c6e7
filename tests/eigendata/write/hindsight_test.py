"""A dialogue that did less becomes a task that asks for less."""

import dataclasses

import pytest

from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.plan import planner
from agentrl.eigendata.write import hindsight
from agentrl.envs import domain
from agentrl.llm import llm as llm_lib


def demand(family, item, fact='done'):
  return domain.Demand(family, f'Sell {item}.', (
      domain.says('user', f'Sell {item}.'),
      domain.calls('assistant', 'sell', item=item),
      domain.says('assistant', fact)), about=(item,), tell=(fact,))


def dialogue(*items, error=False, told='It is done.'):
  found = [types.Message('user', 'Sell ' + ' and '.join(items))]
  for i, item in enumerate(items):
    call = types.ToolCall('sell', {'item': item}, id=str(i))
    found += [types.Message('assistant', tool_calls=(call,)),
              types.Message('tool', 'ok', id=str(i), error=error)]
  return [*found, types.Message('assistant', told)]


LAMP, SOFA, RUG = demand('a', 'lamp'), demand('b', 'sofa'), demand('c', 'rug')


@pytest.mark.parametrize('drafts, messages, met', [
    ((LAMP, SOFA), dialogue('lamp'), (LAMP,)),
    ((LAMP, SOFA), dialogue('sofa'), (SOFA,)),
    ((LAMP, SOFA), dialogue('lamp', 'sofa'), ()),  # it did all
    ((LAMP, SOFA), dialogue('rug'), ()),
    ((LAMP, SOFA), dialogue('lamp', error=True), ()),
    ((LAMP, SOFA), dialogue('lamp', told='Hm.'), ()),
])
def test_what_was_met(drafts, messages, met):
  assert hindsight.met(drafts, messages, 'train') == met


def test_no_combination_of_the_other_split_comes_in_by_the_back_door(
    monkeypatch):
  monkeypatch.setattr(planner, 'held_out', lambda families: True)
  found = dialogue('lamp', 'sofa')
  assert hindsight.met((LAMP, SOFA, RUG), found, 'train') == ()
  assert hindsight.met((LAMP, SOFA, RUG), found, 'test') == (LAMP, SOFA)


def test_users_who_forget_leave_smaller_tasks_behind(make_context, streams):
  context = make_context(mistakes={'user': 1.0})
  found = [sample_lib.draw(context, s, 'x', i) for s in streams(context)
           if '/2/' in s.plan.id for i in range(25)]
  smaller = [s for s in found if 'relabelled' in [r.kind for r in s.repaired]]
  assert smaller and all(s.task for s in smaller)
  env = context.envs['lamp_shop']
  for s in smaller:
    assert len(s.task.families) < int(s.stream.split('/')[1])
    assert env.fault(s.task, s.messages) == ''
    assert s.task.certificate.score == 1
    episodes.verify(env, [s.task])


class Once:
  """Words one scenario for each sample; of a second nothing can be made."""

  def __init__(self, llm):
    self.llm, self.usage, self.failed = llm, llm.usage, 0
    self.wants_brief = llm.wants_brief

  def complete(self, messages, **kw):
    if '"role": "intent"' in messages[0].content:
      if self.worded:
        self.failed += 1
        raise llm_lib.Unparsable('It is not JSON.')
      self.worded = True
    return self.llm.complete(messages, **kw)


def test_hindsight_that_fails_hides_no_reason(make_context, streams):
  context = make_context(mistakes={'user': 1.0})
  context = dataclasses.replace(context, llm=Once(context.llm))
  stream = next(s for s in streams(context) if '/2/' in s.plan.id)
  for i in range(12):
    context.llm.worded = False
    sample = sample_lib.draw(context, stream, 'x', i)
    assert not sample.rejection or sample.rejection.worker in (
        'RandomPool', 'TrajectoryValidation')
  assert context.llm.failed
