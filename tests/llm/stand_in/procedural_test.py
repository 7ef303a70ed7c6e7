"""The stand-in for an LLM: deterministic, right at rate 0, wrong at rate 1."""

import json

import pytest

from agentrl import types
from agentrl.envs import checkers
from agentrl.llm.stand_in import procedural

ROLES = procedural.MISTAKEN
SCHEMA = {'type': 'object'}
CHECKER = {
    'role': 'checker', 'changes': {'orders.a-b.status': 'cancelled'},
    'tell': ['Cancelled'], 'before': [['find', 'cancel']],
    'confirmed': [['cancel', 'a-b']], 'times': {'cancel': 1},
    'words': ['All done, a-b is cancelled.'], 'code': '', 'critique': ''}
EVENTS = [
    ['user', 'Cancel a-b.'], ['call', 'assistant', 'find', {}, True],
    ['assistant', 'Cancel a-b, okay?'], ['user', 'Yes.'],
    ['call', 'assistant', 'cancel', {'order': 'a-b'}, True],
    ['assistant', 'a-b is cancelled.'], ['user', '###STOP###']]
TALK = [
    ['user', 'Cancel a-b.'], ['call', 'assistant', 'find', {}],
    ['result', 'assistant', 'a-b costs 30', True],
    ['assistant', 'Cancel a-b for 30, okay?'], ['user', 'Yes.'],
    ['call', 'assistant', 'cancel', {'order': 'a-b'}],
    ['result', 'assistant', 'done', True],
    ['assistant', 'a-b is cancelled. You have 5 EUR credit.'],
    ['user', '###STOP###']]
JUDGE = {'role': 'judge', 'transcript': TALK, 'tell': ['cancelled'],
         'policy': 'The credit is 5 EUR.', 'entity': r'\b[a-z]-[a-z]\b',
         'writes': [['assistant', 'cancel', {'order': 'a-b'}]],
         'clauses': {'all': True}}


def ask(payload, seed=0, rate=0.0):
  llm = procedural.Procedural(dict.fromkeys(ROLES, rate))
  prompt = types.Message('system', 'Do this.\n' + json.dumps(payload))
  return llm.complete([prompt], schema=SCHEMA, seed=seed)


def passes(code, changes, events):
  return all(checkers.run(code, changes, events).values())


def test_the_checker_it_writes_passes_the_right_run_only():
  code = ask(CHECKER).value['code']
  changes = CHECKER['changes']
  assert passes(code, changes, EVENTS)
  assert not passes(code, {}, EVENTS)
  assert not passes(code, {**changes, 'orders.a-b.city': 'Oslo'}, EVENTS)
  assert not passes(code, {'orders.a-b.status': 'lost'}, EVENTS)
  assert not passes(code, changes, EVENTS[:5] + EVENTS[6:])  # untold
  assert not passes(code, changes, EVENTS[:2] + EVENTS[4:])  # unasked
  assert not passes(code, changes, EVENTS[:1] + EVENTS[2:])  # not looked up
  assert not passes(code, changes, EVENTS[:5] + EVENTS[4:])  # doubled


DRAFTS = [{'goal': 'Cancel order a-b.', 'about': ['a-b']},
          {'goal': 'Pay your bill.', 'about': []}]
INTENT = {'role': 'intent', 'knowledge': 'You are Ann.', 'drafts': DRAFTS,
          'style': 'You are brief.', 'others': ['x-y']}


def test_the_scenario_says_who_how_and_what():
  demands = [{'draft': i, 'goal': d['goal']} for i, d in enumerate(DRAFTS)]
  assert ask(INTENT).value == {'demands': demands, 'scenario': (
      'You are Ann. You are brief. 1. Cancel order a-b. 2. Pay your bill.')}


def test_mistaken_intents_lack_a_detail_or_contradict_themselves():
  found = [ask(INTENT, seed, rate=1.0).value for seed in range(40)]
  goals = {tuple(d['goal'] for d in value['demands']) for value in found}
  assert goals == {
      ('Cancel order it.', 'Pay your bill.'),
      ('Cancel order x-y.', 'Pay your bill.'),
      *((*(d['goal'] for d in DRAFTS), f'Do not do this: {d["goal"]}')
        for d in DRAFTS)}


def test_mistaken_checkers_differ_from_the_right_one():
  right = ask(CHECKER).value['code']
  wrong = {ask(CHECKER, seed, rate=1.0).value['code'] for seed in range(30)}
  assert right not in wrong and len(wrong) > 8


def refused(side):
  return [['call', side, 'x', {}], ['result', side, 'no', False]]


@pytest.mark.parametrize('change, critique, fault', [
    ({}, '', 'none'),
    ({'clauses': {'all': False}}, 'all', 'task'),
    ({'transcript': TALK[:5] + TALK[7:]}, 'cancel is missing', 'trajectory'),
    ({'tell': ['30 days']}, "'30 days' was not told", 'trajectory'),
    ({'transcript': TALK + refused('assistant')}, 'x was refused',
     'trajectory'),
    ({'transcript': TALK + refused('user')}, '', 'none'),
    ({'transcript': TALK[:2] + TALK[3:]}, '30 is made up', 'trajectory'),
    ({'transcript': [['assistant', 'Is it c-d?'], *TALK]}, 'c-d is made up',
     'trajectory'),
    ({'policy': ''}, '5 is made up', 'trajectory'),
])
def test_the_judge(change, critique, fault):
  found = ask({**JUDGE, **change}).value
  assert found == {'success': fault != 'trajectory', 'fault': fault,
                   'critique': critique}
  wrong = ask({**JUDGE, **change}, rate=1.0).value
  assert wrong['success'] != found['success']


def test_the_same_seed_gives_the_same_reply_and_its_cost():
  reply = ask(CHECKER, seed=3, rate=0.5)
  assert reply == ask(CHECKER, seed=3, rate=0.5)
  assert reply.usage.calls == 1 and reply.usage.completion_tokens > 20
  assert json.loads(reply.message.content) == reply.value


@pytest.mark.parametrize('mistakes, text', [
    ({'usr': 0.1}, "no role 'usr'. Did you mean 'user'"),
    ({}, 'must be within 0 .. 1, got None'),
    ({**dict.fromkeys(ROLES, 0.0), 'judge': 2}, 'mistakes.judge .* got 2'),
])
def test_wrong_rates_are_refused(mistakes, text):
  with pytest.raises(ValueError, match=text):
    procedural.Procedural(mistakes)
