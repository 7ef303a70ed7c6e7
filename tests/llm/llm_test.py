"""What completions cost is counted by stage."""

from agentrl import types
from agentrl.llm import llm


class Fixed:
  """Answers alike, at a price."""

  def complete(self, messages, *, schema=None, tools=(), seed):
    return llm.Reply(types.Message('assistant', f'{seed}'),
                     usage=llm.Usage(len(messages), 2, 1))


def test_usage_adds_up():
  assert llm.Usage(1, 2, 3) + llm.Usage(10, 20, 30) == llm.Usage(11, 22, 33)


def test_the_meter_counts_by_stage_and_passes_replies_on():
  meter = llm.Meter(Fixed())
  hello = types.Message('user', 'hello')
  meter.stage = 'a'
  assert meter.complete([hello], seed=7).message.content == '7'
  meter.complete([hello, hello], seed=8)
  meter.stage = 'b'
  meter.complete([hello], seed=9)
  assert dict(meter.usage) == {'a': llm.Usage(3, 4, 2),
                               'b': llm.Usage(1, 2, 1)}
