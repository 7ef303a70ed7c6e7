"""A fault is the user's only where no agent can have caused it."""

import pytest

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs.tau2 import user_faults

TASK = types.Task(
    'x', 'tau2:telecom', 'You are John with phone number 555-123-2002.',
    types.Criteria(env_assertions=({'func_name': 'assert_can_send_mms'},)))
TRANSFER = types.ToolCall('transfer_to_human_agents', {'summary': ''}, 'c')


def user(text):
  return types.Message('user', text)


def agent(text):
  return types.Message('assistant', text)


def switched(*states):
  """The user's results of toggling airplane mode."""
  return [types.Message('tool', f'Airplane Mode is now {state}.\nStatus Bar',
                        id='c', requestor='user') for state in states]


def find(*messages, task=TASK):
  return user_faults.find(task, [dialogue.GREETING, *messages])


HI, STOP = user('Hello.'), user('Bye ###STOP###')
HANDED = user('###TRANSFER###')


@pytest.mark.parametrize('fault, messages', [
    ('made up 555-000-1111', [user('It is 555-000-1111.'), agent('Ok.'), STOP]),
    ('before the agent', [STOP]),
    ('claimed', [HI, agent('Please reboot.'), HANDED]),
    ('Airplane Mode ON unasked', [HI, agent('Ok.'), *switched('ON'), STOP]),
])
def test_certain_faults(fault, messages):
  assert fault in find(*messages)


@pytest.mark.parametrize('messages', [
    [HI, agent('Ok.'), STOP],
    [user('It is 555-123-2002.'), agent('Ok.'), STOP],
    [HI, agent('Is it 555-000-1111?'), user('No 555-000-1111.'), STOP],
    [HI, agent('A human will take over.'), HANDED],
    [HI, types.Message('assistant', None, (TRANSFER,)), HANDED],
    [HI, agent('Turn airplane mode on.'), *switched('ON'), STOP],
    [HI, agent('Ok.'), *switched('OFF'), STOP],
    [HI, agent('Ok.'), *switched('ON', 'OFF'), STOP],
    [HI, agent('Ok.'), *switched('OFF', 'ON'), STOP],  # as it was before
    [HI, agent('Ok.')],  # a limit ended it
])
def test_the_rest_is_the_agents(messages):
  assert not find(*messages)


def test_a_broken_phone_hurts_only_where_it_should_work():
  moved = [HI, agent('Ok.'), *switched('ON'), STOP]
  handed = types.Task('x', 'tau2:telecom', '', TASK.criteria, kind='transfer')
  assert not find(*moved, task=handed)
  other = types.Task('x', 'tau2:telecom', '', types.Criteria())
  assert not find(*moved, task=other)
