"""Checkers give verdicts by clause, and cannot hurt."""

import pytest

from agentrl import types
from agentrl.envs import checkers

GOOD = '''
def check(changes, events):
  return {'is cancelled': changes.get('orders.a.status') == 'cancelled',
          'was told': said(events, '12 eur')}
'''


def message(role, content, *calls):
  return types.Message(role, content, calls)


def test_clauses_and_product():
  talk = [message('assistant', 'You get 12 EUR back.')]
  score = checkers.score(GOOD, {'orders.a.status': 'cancelled'}, talk)
  assert (score.reward, score.error) == (1.0, '')
  score = checkers.score(GOOD, {}, talk)
  assert score.reward == 0.0
  assert score.clauses == {'is cancelled': False, 'was told': True}


def test_events_leave_out_what_the_user_never_saw():
  write = types.ToolCall('w', {'k': 'a'}, '1.0')
  events = checkers.events([
      message('assistant', 'hidden', write),
      types.Message('tool', 'no', id='1.0', error=True),
      message('user', 'hello')])
  assert events == [['call', 'assistant', 'w', {'k': 'a'}, False],
                    ['user', 'hello']]


A, U = ['assistant', 'Cancel teal-heron?'], ['user', 'yes']
N = ['assistant', 'Anything else?']
W = ['call', 'assistant', 'cancel', {'order': 'teal-heron'}, True]


@pytest.mark.parametrize('events, expected', [
    ([A, U, W], True), ([W, A, U], False), ([A, W, U], False),
    ([U, A, W], False), ([], True), ([W[:4] + [False]], True),
    ([A, U, N, U, W], False), ([A, U, N, W], False), ([N, A, U, W, W], True)])
def test_confirmed(events, expected):
  code = ('def check(changes, events):\n'
          "  return {'ok': confirmed(events, 'cancel', 'teal-heron')}")
  assert checkers.run(code, {}, events)['ok'] is expected


@pytest.mark.parametrize('body', [
    'while True: pass', 'return 1', 'return {}', "return {'a': 1}",
    "return open('/etc/passwd').read()", 'import os\n  return os.environ',
    'return nothing', 'return check(changes, events)',
    "return ['x' * 10**9]", 'x = (', "raise ValueError('no')"])
def test_no_verdict_is_an_error_and_the_pool_lives_on(body):
  score = checkers.score(f'def check(changes, events):\n  {body}', {}, [])
  assert score.error and score.reward == 0.0
  talk = [message('assistant', '12 eur')]
  assert checkers.score(GOOD, {'orders.a.status': 'cancelled'}, talk).reward
