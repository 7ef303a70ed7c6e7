"""A fault is the user's only if the user could have done better."""

import pytest

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import load as env_load

ENV = env_load.load('orders', {'prompt': 'brief'})
TASK = types.Task('t', 'orders', 'You are Ada Roth. Cancel order tinyKoala.',
                  demands=(types.TaskDemand(
                      'undo', 'Cancel it.', about=('tinyKoala',),
                      answers=(('credit', 'return_order'),)),))


def user(text):
  return types.Message('user', text, requestor='user')


def agent(text):
  return types.Message('assistant', text)


def returned(error):
  call = types.ToolCall('return_order', {}, id='3.0')
  return (types.Message('assistant', tool_calls=(call,)),
          types.Message('tool', 'returning', id='3.0', error=error))


HANDED = types.Message('assistant', tool_calls=(
    types.ToolCall('transfer_to_human', {'reason': 'abuse'}),))
LEFT = 'The user never mentioned tinyKoala.'


@pytest.mark.parametrize('said, fault', [
    ((user('Cancel TINYKOALA.'), agent('No.'), user('###STOP###')), ''),
    ((user('Hello.'), agent('Yes?'), user('Bye! ###STOP###')), LEFT),
    # The agent's errors ended it, or its handing over: the rest is moot.
    ((user('Hello.'), agent('Yes?')), ''),
    ((user('Hello.'), HANDED, agent('Bye.'), user('###TRANSFER###')), ''),
    # Done without asking how; declined, or tried in vain, without asking.
    ((user('Return tinyKoala.'), *returned(False), user('###STOP###')),
     'The user never mentioned credit.'),
    ((user('Return tinyKoala.'), *returned(True), user('###STOP###')), ''),
    ((user('Return tinyKoala.'), agent('No.'), user('###STOP###')), ''),
    # Nobody has handed anything over.
    ((user('Hello.'), agent('Bye.'), user('###TRANSFER###')), LEFT),
    # An order that nobody had named; one that the agent has named.
    ((user('Cancel tinyKoala and bigFox.'), agent('No.')),
     'The user made up bigFox.'),
    ((user('Cancel tinyKoala.'), agent('Or bigFox?'), user('No, not bigFox.')),
     ''),
])
def test_faults_of_the_user(said, fault):
  assert ENV.fault(TASK, [dialogue.GREETING, *said]) == fault


def test_the_first_table_is_that_of_who_calls_or_the_one_that_is_named(
    monkeypatch):
  tables = {'rooms': {'hall': {}}, 'guests': {'Ada': {}, 'Bob': {}}, 'dogs': {}}
  assert ENV.callers(tables) == ['hall']
  monkeypatch.setattr(ENV._state, 'PEOPLE', 'guests', raising=False)
  assert ENV.callers(tables) == ['Ada', 'Bob']
  for nobody in ('dogs', 'cats'):
    monkeypatch.setattr(ENV._state, 'PEOPLE', nobody, raising=False)
    with pytest.raises(ValueError, match=f"'{nobody}'.*PEOPLE"):
      ENV.callers(tables)
