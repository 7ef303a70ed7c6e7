"""The rules of who speaks next, what ends a dialogue, which limit wins."""

import pytest

from agentrl import types
from agentrl.envs import dialogue

SYSTEM = {'assistant': types.Message('system', 'policy'),
          'user': types.Message('system', 'scenario')}


class World:
  """Answers each call by its name; calls named `bad` are refused."""

  def execute(self, calls):
    return [types.Message('tool', c.name, id=c.id, requestor=c.requestor,
                          error=c.name == 'bad') for c in calls]


def call(*names):
  return types.Message('assistant', None,
                       tuple(types.ToolCall(n, {}) for n in names))


def text(words):
  return types.Message('assistant', words)


def run(script, **limits):
  """Plays the script, (side, reply) in order; returns (asks, End)."""
  game = dialogue.play(World(), system=SYSTEM,
                       limits=dialogue.Limits(**limits))
  asks, reply = [], None
  script = iter(script)
  try:
    while True:
      asks.append(game.send(reply))
      side, reply = next(script)
      assert asks[-1].side == side
  except StopIteration as e:
    return asks, e.value


def test_each_side_sees_its_own_part_and_speaks_as_the_assistant():
  asks, end = run([('user', call('lights')), ('user', text('They are red.')),
                   ('assistant', call('line', 'reset')),
                   ('assistant', text('Done.')),
                   ('user', text('Bye ###STOP###'))])
  assert end.reason == 'user_stop'
  assert [m.role for m in end.messages] == [
      'assistant', 'user', 'tool', 'user', 'assistant', 'tool', 'tool',
      'assistant', 'user']
  assert end.steps == 7  # five generations, two executions
  roles = [[(i, m.role, m.content) for i, m in a.new] for a in asks]
  assert roles[0] == [(-1, 'system', 'scenario'),
                      (0, 'user', dialogue.GREETING.content)]
  assert roles[1] == [(2, 'tool', 'lights')]
  assert roles[2] == [(-1, 'system', 'policy'),
                      (0, 'assistant', dialogue.GREETING.content),
                      (3, 'user', 'They are red.')]
  assert roles[3] == [(5, 'tool', 'line'), (6, 'tool', 'reset')]
  assert roles[4] == [(7, 'user', 'Done.')]
  assert [a.index for a in asks] == [1, 3, 4, 7, 8]
  calls = end.messages[4].tool_calls
  assert [c.id for c in calls] == ['4.0', '4.1']
  assert end.messages[1].tool_calls[0].requestor == 'user'


def test_what_is_asked_adds_up_to_the_view():
  asks, end = run([('user', text('a')), ('assistant', call('x')),
                   ('assistant', text('b')), ('user', text('###STOP###'))])
  for side in ('assistant', 'user'):
    fed = [m for a in asks if a.side == side for m in a.new]
    own = [(a.index, dialogue.seen_from(end.messages[a.index], side))
           for a in asks if a.side == side]
    last = max(a.index for a in asks if a.side == side)
    assert sorted(fed + own, key=lambda m: m[0]) == dialogue.view(
        end.messages[:last + 1], side, SYSTEM[side])


def test_text_beside_calls_is_hidden_from_the_other_side():
  both = types.Message('assistant', 'secret', (types.ToolCall('x', {}),))
  asks, _ = run([('user', text('a')), ('assistant', both),
                 ('assistant', text('b')), ('user', text('###STOP###'))])
  assert all('secret' not in (m.content or '') for a in asks for _, m in a.new)


@pytest.mark.parametrize('token', dialogue.STOP_TOKENS)
def test_each_stop_token_ends_it(token):
  assert run([('user', text(f'bye {token}'))])[1].reason == 'user_stop'


def test_a_stop_beside_calls_does_not_end_it():
  both = types.Message('assistant', dialogue.STOP, (types.ToolCall('x', {}),))
  _, end = run([('user', both), ('user', text('###STOP###'))])
  assert (end.reason, end.steps) == ('user_stop', 3)


def test_the_agent_cannot_end_it():
  asks, end = run([('user', text('a')), ('assistant', text('###STOP###')),
                   ('user', text('b ###STOP###'))])
  assert end.reason == 'user_stop' and len(asks) == 3


def test_a_limit_wins_over_a_stop_of_the_very_step():
  script = [('user', text('a')), ('assistant', text('b')),
            ('user', text('###STOP###'))]
  assert run(script, max_steps=3)[1].reason == 'max_steps'
  assert run(script, max_steps=4)[1].reason == 'user_stop'


def test_limits_wait_while_the_environment_is_next():
  script = [('user', text('a')), ('assistant', call('x')),
            ('assistant', text('b'))]
  _, end = run(script, max_steps=2)
  assert (end.reason, end.steps) == ('max_steps', 3)
  assert end.messages[-1].role == 'tool'


def test_errors_count_over_both_sides_and_win_over_steps():
  script = [('user', call('bad')), ('user', text('a')),
            ('assistant', call('bad', 'ok')), ('assistant', text('b'))]
  _, end = run(script, max_errors=2, max_steps=5)
  assert (end.reason, end.errors) == ('too_many_errors', 2)


@pytest.mark.parametrize('words', ['', '  \n', None])
def test_an_empty_message_is_the_fault_of_its_sender(words):
  assert run([('user', text(words))], max_steps=1)[1].reason == 'user_error'
  script = [('user', text('a')), ('assistant', text(words))]
  assert run(script)[1].reason == 'agent_error'


def test_no_history_is_an_error():
  with pytest.raises(ValueError, match='at least one message'):
    next(dialogue.play(World(), system=SYSTEM, history=()))
