"""Calls start evenly, and never more of them in a minute than is allowed."""

from agentrl.llm.openai import pace


def test_calls_come_evenly():
  p = pace.Pace(30)  # one each 2 s
  assert [p.reserve(1, now=100.0) for _ in range(3)] == [0, 2, 4]
  assert p.reserve(1, now=105.0) == 1
  assert p.reserve(1, now=200.0) == 0  # a pause is not saved up
  assert p.reserve(1, now=200.0) == 2


def test_tokens_count_by_their_number():
  p = pace.Pace(6000)  # 100 a second
  assert p.reserve(500, now=0.0) == 0
  assert p.reserve(100, now=0.0) == 5
  p.give_back(300)
  assert p.reserve(100, now=3.0) == 0


def test_no_limit_but_a_pause_that_the_server_asks_for():
  p = pace.Pace(0)
  assert [p.reserve(9, now=1.0) for _ in range(3)] == [0, 0, 0]
  p.hold(until=4.0)
  assert p.reserve(1, now=1.0) == 3
