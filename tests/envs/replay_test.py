"""Known moves: played by the rules, or as they come."""

import random

import pytest

from agentrl import testing
from agentrl import types
from agentrl.envs import replay

ENV = testing.EchoEnv()
TASK = testing.echo_task()


def beat(by, *say, call='', **arguments):
  return types.Beat(by, say, call, arguments)


SCRIPT = [beat('user', 'Say it.', 'Say maple.'),
          beat('assistant', call='echo', text='maple'),
          beat('assistant', 'maple'), beat('user', 'Bye ###STOP###')]


def moves(script=SCRIPT, seed=0):
  return replay.render(script, random.Random(seed))


def test_a_script_is_worded_by_chance_and_played_by_the_rules():
  assert {moves(seed=s)[0].content for s in range(9)} == {
      'Say it.', 'Say maple.'}
  _, end = replay.enact(ENV, TASK, moves())
  assert end.reason == 'user_stop'
  assert [m.role for m in end.messages] == [
      'assistant', 'user', 'assistant', 'tool', 'assistant', 'user']


@pytest.mark.parametrize('script, text', [
    (SCRIPT[1:], 'turn of the user, but assistant moves'),
    (SCRIPT[:3], 'turn of the user, but nobody moves'),
    ([SCRIPT[0], SCRIPT[3]], 'turn of the assistant, but user moves'),
    (SCRIPT + SCRIPT[:1], 'ended by user_stop with 1 moves left'),
    ([SCRIPT[0], beat('assistant', call='nope'), *SCRIPT[2:]],
     'A call was refused: Error: no such tool'),
])
def test_what_breaks_the_rules_is_unplayable(script, text):
  with pytest.raises(replay.Unplayable, match=text):
    replay.enact(ENV, TASK, moves(script))


def test_a_replay_takes_moves_as_they_come():
  odd = moves([SCRIPT[1], beat('assistant', call='nope'), SCRIPT[1]])
  _, played = replay.replay(ENV, TASK, odd)
  results = [m for m in played if m.role == 'tool']
  assert [m.error for m in results] == [False, True, False]
  ids = [c.id for m in played for c in m.tool_calls]
  assert len(set(ids)) == 3 and [m.id for m in results] == ids


def test_moves_of_a_dialogue_play_it_again():
  _, end = replay.enact(ENV, TASK, moves())
  again = replay.moves(end.messages)
  assert replay.replay(ENV, TASK, again)[1] == [
      types.Message(**{**{f: getattr(m, f) for f in m.__slots__}, **ids})
      for m, ids in zip(end.messages, [{}, {}, {'tool_calls': (
          types.ToolCall('echo', {'text': 'maple'}, '1.0'),)}, {'id': '1.0'},
                                       {}, {}])]
