"""What completions cost is counted by stage, and by thread; JSON is strict."""

from concurrent import futures

import pytest

from agentrl import types
from agentrl.llm import llm

HELLO = types.Message('user', 'hello')


class Fixed:
  """Answers alike, at a price."""

  def __init__(self, tokens=2):
    self.tokens = tokens

  def complete(self, messages, *, schema=None, tools=(), seed):
    if seed < 0:
      raise llm.Refused('no', llm.Usage(9, 9, 1))
    return llm.Answer(types.Message('assistant', f'{seed}'),
                     usage=llm.Usage(len(messages), self.tokens, 1))


def test_usage_adds_up():
  assert (llm.Usage(1, 2, 3, 4, 5, 0.5, 2.0)
          + llm.Usage(10, 20, 30, 40, 50, 0.25, 1.0)
          == llm.Usage(11, 22, 33, 44, 55, 0.75, 3.0))


def test_the_meter_counts_by_stage_and_passes_replies_on():
  meter = llm.Meter(Fixed(), {'b': Fixed(5)})
  assert meter.complete([HELLO], stage='a', seed=7).message.content == '7'
  meter.complete([HELLO, HELLO], stage='a', seed=8)
  meter.complete([HELLO], stage='b', seed=9)
  assert dict(meter.usage) == {'a': llm.Usage(3, 4, 2),
                               'b': llm.Usage(1, 5, 1)}


def test_what_was_rejected_costs_too_and_says_where():
  meter = llm.Meter(Fixed())
  with pytest.raises(llm.Refused) as e:
    meter.complete([HELLO], stage='a', seed=-1)
  assert e.value.stage == 'a' and e.value.kind == 'refused'
  assert meter.usage['a'] == llm.Usage(9, 9, 1)


def test_threads_have_usage_of_their_own():
  meter = llm.Meter(Fixed())
  def work(n):
    assert not meter.usage
    meter.complete([HELLO], stage=f'{n}', seed=0)
    return dict(meter.usage)
  for n in range(3):
    with futures.ThreadPoolExecutor(1) as pool:
      assert pool.submit(work, n).result() == {f'{n}': llm.Usage(1, 2, 1)}
  assert not meter.usage


def test_short_prompts_are_for_some_stages():
  meter = llm.Meter(Fixed(), brief={'b'})
  assert meter.wants_brief('b') and not meter.wants_brief('a')


@pytest.mark.parametrize('text, problem', [
    ('{"a": ', 'Expecting'), ('[NaN]', 'NaN'), ('["\\ud83d"]', 'character'),
    ('[' * 100_000, 'nested'), ('[' * 65 + ']' * 65, 'nested'),
    ('[1e999]', 'too large')])
def test_json_that_no_file_can_hold_is_none(text, problem):
  with pytest.raises(ValueError, match=problem):
    llm.loads(text)
  assert llm.loads('["\\ud83d\\ude00", 1.5]') == ['😀', 1.5]
  assert llm.loads('[' * 64 + ']' * 64)
