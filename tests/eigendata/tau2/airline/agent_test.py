"""Airline dialogues without an LLM: they pass, vary, and invent nothing."""

import dataclasses
import json
import random
import re

import pytest

from agentrl import jsons
from agentrl import types
from agentrl.eigendata.tau2.airline import agent
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from agentrl.envs import replay

pytest.importorskip(
    'tau2.domains.airline',
    reason='needs the real benchmark: pip install -e .[tau2]')

MONTHS = re.compile(r'May (\d+)')
WRITES = re.compile('book|cancel|send|update')


@pytest.fixture(scope='module')
def env():
  return env_load.load('tau2:airline', {'prompt': 'brief'})


def _chat(env, task, seed):
  chat = agent.AirlineDialogue(env, task, random.Random(f'{task.id}/{seed}'))
  agent.solve(chat)
  return chat


@pytest.fixture(scope='module')
def chats(env):
  return [_chat(env, task, seed)
          for task in env.tasks('train') for seed in range(2)]


def _calls(chat):
  return [c for m in chat.end.messages for c in m.tool_calls]


def test_the_evaluator_passes_every_train_task(env, chats):
  assert len(chats) == 60
  for chat in chats:
    score = env.score(chat.task, chat.world, chat.end.messages,
                      chat.end.reason)
    assert score.reward == 1, (chat.task.id, score)


def test_dialogues_are_short_and_vary(env, chats):
  said = [m.content for t in chats for m in t.end.messages
          if m.role != 'tool' and m.has_text]
  assert max(len(text.split()) for text in said) <= 60
  assert not [text for text in said if '{' in text or '  ' in text.strip()]
  one = env.tasks('train')[0]
  found = {jsons.dumps(_chat(env, one, seed).end.messages)
           for seed in range(12)}
  assert len(found) >= 10
  again = _chat(env, one, 0).end.messages
  assert again == chats[0].end.messages


def test_the_agent_keeps_to_the_form_of_the_policy(chats):
  for chat in chats:
    agreed = False
    assert _calls(chat)[0].name == 'get_user_details'
    for m in chat.end.messages:
      assert len(m.tool_calls) <= 1 and not (m.is_call and m.has_text)
      if m.role == 'user':
        agreed = m.content.startswith('Yes')
      for c in m.tool_calls:
        assert agreed or not WRITES.match(c.name)


def test_whatever_is_put_into_a_call_was_said_or_looked_up(chats):
  for chat in chats:
    known = ''
    for m in chat.end.messages:
      for call in m.tool_calls:
        for value in _leaves(call.arguments):
          assert value in known, (chat.task.id, call)
      if m.role != 'assistant':
        days = (f' 2024-05-{int(d):02}' for d in MONTHS.findall(m.content))
        known += m.content + ''.join(days)


def test_birthdays_of_strangers_are_told(chats):
  strangers = 0
  for chat in chats:
    known = ' '.join(m.content or '' for m in chat.end.messages
                     if m.role != 'assistant')
    profile = known.split('"reservations": [')[0]
    people = [(c.arguments['user_id'], p) for c in _calls(chat)
              if c.name == 'book_reservation'
              for p in c.arguments['passengers']]
    for user, p in people:
      name = f'{p["first_name"]} {p["last_name"]}'
      told = f'{name}, born {p["dob"]}' in known
      me = user.startswith(name.lower().replace(' ', '_'))
      assert told or me or json.dumps(dict(p)) in profile, (name, profile)
      strangers += told
  assert strangers


def _leaves(value):
  """Ids, names, dates, codes and flight numbers in the arguments of a call."""
  if isinstance(value, dict):
    return [x for key, v in value.items() for x in _leaves(v)
            if key not in ('expression', 'summary', 'cabin', 'flight_type')]
  if isinstance(value, (list, tuple)):
    return [x for v in value for x in _leaves(v)]
  return [value] if isinstance(value, str) else []


def test_numbers_of_a_calculation_were_looked_up(chats):
  for chat in chats:
    seen = '2 30 50 '  # of the policy
    for m in chat.end.messages:
      for call in m.tool_calls:
        for n in re.findall(r'\d+', call.arguments.get('expression', '')):
          assert len(n) == 1 or n in seen, (chat.task.id, call)
      seen += m.content or ''


def test_no_gold_call_that_writes_is_left_out_or_made_up(chats):
  for chat in chats:
    gold, made = (sorted(
        json.dumps([c.name, dict(c.arguments)], sort_keys=True) for c in calls
        if WRITES.match(c.name))
        for calls in (chat.task.criteria.actions, _calls(chat)))
    assert made == gold


def test_a_gold_transfer_ends_with_a_human(env):
  task = env.tasks('train')[0]
  gold = types.Action('transfer_to_human_agents', {'summary': 'x'})
  chat = _chat(env, dataclasses.replace(
      task, criteria=types.Criteria(actions=(gold,))), 0)
  assert _calls(chat)[-1].name == gold.name
  *_, told, end = chat.end.messages
  assert 'TRANSFERRED' in told.content and dialogue.TRANSFER in end.content
  assert chat.end.reason == 'user_stop'


def test_what_is_not_understood_is_not_played(env):
  task = dataclasses.replace(
      env.tasks('train')[0], scenario='Your user id is emma_kim_9957.')
  with pytest.raises(replay.Unplayable, match='not understood'):
    _chat(env, task, 0)
  gold = types.Action('cancel_reservation', {'reservation_id': 'Q69X3R'})
  stranger = dataclasses.replace(
      task, criteria=types.Criteria(actions=(gold,)))
  with pytest.raises(replay.Unplayable, match='Q69X3R'):
    _chat(env, stranger, 0)
