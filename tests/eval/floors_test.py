"""Scripts that play without a model."""

import pytest

from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.eval import floors

LIMITS = dialogue.Limits(max_steps=30, max_errors=2)


def test_floors_and_ceiling(desk, tasks):
  rewards = floors.measure(desk, tasks, limits=LIMITS)
  assert rewards == {
      'noop': [0, 0, 0, 1, 0],
      'refuse': [0, 0, 0, 1, 1],
      'transfer': [0, 0, 1, 0, 0],  # by the better of the two reasons
      'gold': [1, 1, 1, 1, 1]}


def test_gold_keeps_the_order_and_the_sides_of_the_actions(desk, tasks):
  episode, = floors.run(desk, [tasks[1]], floors.gold(desk), limits=LIMITS)
  called = [(c.requestor, c.name) for m in episode.messages
            for c in m.tool_calls]
  assert called == [('user', 'plug'), ('assistant', 'set_level')] * 2
  assert episode.ended == 'user_stop'


@pytest.mark.parametrize('script', [floors.noop, floors.refuse,
                                    floors.transfer, floors.gold])
def test_every_script_ends_by_the_users_stop(script, desk, tasks):
  for episode in floors.run(desk, tasks, script(desk), limits=LIMITS):
    assert episode.ended == 'user_stop'


def last_words(desk, tasks):
  episode, = floors.run(desk, tasks[:1], floors.transfer(desk), limits=LIMITS)
  return episode.messages[-1].content


def test_the_user_says_so_after_a_transfer(desk, tasks):
  assert last_words(desk, tasks) == dialogue.TRANSFER


def test_a_domain_without_a_transfer_tool_has_a_floor_too(
    desk, tasks, monkeypatch):
  monkeypatch.setattr(env_lib, 'TRANSFER_TOOL', 'no_such_tool')
  assert floors.measure(desk, tasks[3:], limits=LIMITS)['transfer'] == [1, 0]
  assert last_words(desk, tasks) == dialogue.STOP  # nobody was handed over
