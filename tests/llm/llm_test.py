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
    return llm.Reply(types.Message('assistant', f'{seed}'),
                     usage=llm.Usage(len(messages), self.tokens, 1))


def test_usage_adds_up():
  assert (llm.Usage(1, 2, 3, 4, 5, 0.5, 2.0)
          + llm.Usage(10, 20, 30, 40, 50, 0.25, 1.0)
          == llm.Usage(11, 22, 33, 44, 55, 0.75, 3.0))


def test_the_meter_counts_by_stage_and_passes_replies_on():
  meter = llm.Meter(Fixed(), {'b': Fixed(5)})
  meter.stage = 'a'
  assert meter.complete([HELLO], seed=7).message.content == '7'
  meter.complete([HELLO, HELLO], seed=8)
  meter.stage = 'b'
  meter.complete([HELLO], seed=9)
  assert dict(meter.usage) == {'a': llm.Usage(3, 4, 2),
                               'b': llm.Usage(1, 5, 1)}


def test_what_was_rejected_costs_too_and_says_where():
  meter = llm.Meter(Fixed())
  meter.stage = 'a'
  with pytest.raises(llm.Refused) as e:
    meter.complete([HELLO], seed=-1)
  assert e.value.stage == 'a' and e.value.kind == 'refused'
  assert meter.usage['a'] == llm.Usage(9, 9, 1)


def test_threads_have_stages_of_their_own():
  meter = llm.Meter(Fixed())
  meter.stage = 'main'
  def work(n):
    assert meter.stage == '' and not meter.usage
    meter.stage = f'{n}'
    meter.complete([HELLO], seed=0)
    return dict(meter.usage)
  for n in range(3):
    with futures.ThreadPoolExecutor(1) as pool:
      assert pool.submit(work, n).result() == {f'{n}': llm.Usage(1, 2, 1)}
  assert meter.stage == 'main' and not meter.usage


@pytest.mark.parametrize('text, problem', [
    ('{"a": ', 'Expecting'), ('[NaN]', 'NaN'), ('["\\ud83d"]', 'character'),
    ('[' * 100_000, 'nested'), ('[' * 65 + ']' * 65, 'nested'),
    ('[1e999]', 'too large')])
def test_json_that_no_file_can_hold_is_none(text, problem):
  with pytest.raises(ValueError, match=problem):
    llm.loads(text)
  assert llm.loads('["\\ud83d\\ude00", 1.5]') == ['😀', 1.5]
  assert llm.loads('[' * 64 + ']' * 64)
