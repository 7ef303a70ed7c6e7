"""The same request is asked once; any other is another."""

from concurrent import futures
import dataclasses
import threading

import pytest

from agentrl import types
from agentrl.llm import cache
from agentrl.llm import llm

CALL = types.ToolCall('find', {'b': {'d': 1, 'c': 2}, 'a': [1, 'ö']},
                      requestor='user')
CHAT = [types.Message('system', 'Do.'), types.Message('user', 'This.')]
REPLY = llm.Answer(
    types.Message('assistant', 'ä', (CALL,)),
    usage=llm.Usage(5, 3, 1, 2, dollars=0.5), thinking='hm', end='truncated',
    problem='too long')


class Counting:
  """Gives one reply, slowly if told to."""

  def __init__(self, reply=REPLY):
    self.reply, self.calls = reply, 0
    self.go = threading.Event()
    self.go.set()

  def complete(self, messages, *, schema=None, tools=(), seed):
    self.calls += 1
    self.go.wait(10)
    return self.reply


def ask(folder, inner, identity=None, messages=CHAT, **kw):
  asked = {**dict(schema=None, tools=(), seed=0), **kw}
  return cache.AnswerCache(inner, identity or {'model': 'm'}, folder).complete(
      messages, **asked)


def test_the_second_time_is_free_and_whole(tmp_path):
  inner = Counting()
  assert ask(tmp_path, inner) == REPLY
  found = ask(tmp_path, inner)
  assert inner.calls == 1
  assert found.usage == llm.Usage(hits=1, saved=0.5, saved_tokens=8)
  assert (found.message, found.thinking, found.end, found.problem) == (
      REPLY.message, 'hm', 'truncated', 'too long')
  # The next prompt may show them as text.
  assert str(found.message) == str(REPLY.message)


@pytest.mark.parametrize('change', [
    dict(identity={'model': 'n'}), dict(messages=CHAT[:1]), dict(seed=1),
    dict(schema={'type': 'object'}), dict(tools=({'type': 'function'},)),
    dict(messages=[CHAT[0], types.Message('user', 'This!')])])
def test_whatever_differs_is_asked_anew(tmp_path, change):
  inner = Counting()
  ask(tmp_path, inner)
  ask(tmp_path, inner, **change)
  assert inner.calls == 2


@pytest.mark.parametrize('broken', ['', '{"message": ', '[]', '{"a": 1}'])
def test_a_broken_file_is_asked_for_again(tmp_path, broken):
  inner = Counting()
  ask(tmp_path, inner)
  [file] = tmp_path.glob('*/*')
  file.write_text(broken)
  assert ask(tmp_path, inner) == REPLY
  assert ask(tmp_path, inner).usage.hits == 1 and inner.calls == 2


def test_threads_that_ask_at_once_get_one_answer(tmp_path):
  inner = Counting()
  shared = cache.AnswerCache(inner, {'model': 'm'}, tmp_path)
  inner.go.clear()
  with futures.ThreadPoolExecutor(8) as pool:
    waiting = [pool.submit(shared.complete, CHAT, seed=0) for _ in range(8)]
    inner.go.set()
    found = [w.result() for w in waiting]
  assert inner.calls == 1
  assert sum(r.usage.hits for r in found) == 7
  assert [f.suffix for f in tmp_path.glob('*/*')] == ['.json']


def test_processes_may_share_a_folder(tmp_path):
  """As caches that know nothing of each other do here."""
  with futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: ask(tmp_path, Counting()), range(64)))
  assert all(r.message == REPLY.message for r in found)
  assert [f.suffix for f in tmp_path.glob('*/*')] == ['.json']


def test_no_room_is_asked_again_where_that_is_free(tmp_path):
  reply = llm.Answer(types.Message('assistant', ''), end='no room')
  inner = Counting(dataclasses.replace(reply, usage=llm.Usage(calls=1)))
  costly = Counting(dataclasses.replace(reply, usage=llm.Usage(9, 1, 1)))
  for counting, calls in ((inner, 2), (costly, 1)):
    for _ in range(2):
      ask(tmp_path, counting)
    assert counting.calls == calls


def test_what_failed_is_not_kept(tmp_path):
  class Failing:
    def complete(self, messages, *, schema=None, tools=(), seed):
      raise llm.Unavailable('gone')
  shared = cache.AnswerCache(Failing(), {'model': 'm'}, tmp_path)
  for _ in range(2):
    with pytest.raises(llm.Unavailable):
      shared.complete(CHAT, seed=0)
  assert not list(tmp_path.glob('*/*'))
