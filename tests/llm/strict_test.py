"""An answer is what was asked for, or is mended once, or a rejection."""

import pytest

from agentrl import types
from agentrl.llm import llm
from agentrl.llm import strict

SCHEMA = {'type': 'object', 'required': ['n'],
          'properties': {'n': {'type': 'integer'}}}
TOOLS = ({'type': 'function', 'function': {'name': 'find'}},)
SYSTEM = types.Message('system', 'Do.')


class Scripted:
  """Gives the replies in turn; keeps the chats."""

  def __init__(self, *replies):
    self.replies, self.chats = list(replies), []

  def complete(self, messages, *, schema=None, tools=(), seed):
    self.chats.append(messages)
    return self.replies.pop(0)


def text(words, **kw):
  return llm.Answer(types.Message('assistant', words),
                   usage=llm.Usage(10, 1, 1), **kw)


def call(name, **arguments):
  return llm.Answer(types.Message('assistant', tool_calls=(
      types.ToolCall(name, arguments),)))


def ask(*replies, schema=SCHEMA, tools=()):
  inner = Scripted(*replies)
  reply = strict.Strict(inner).complete([SYSTEM], schema=schema, tools=tools,
                                        seed=0)
  return reply, inner.chats


@pytest.mark.parametrize('words', [
    '{"n": 3}', ' ```json\n{"n": 3}\n``` ', '```\n{"n": 3}\n```'])
def test_what_fits_is_parsed(words):
  reply, chats = ask(text(words))
  assert reply.value == {'n': 3} and len(chats) == 1


@pytest.mark.parametrize('words, problem', [
    ('{"n":', 'It is not JSON'), ('{"n": "3"}', "At $.n: '3' is not of type"),
    ('{"n": 3.0}', 'At $.n: 3.0 is not of type'),
    ('{}', "'n' is a required property"), ('', 'It is not JSON')])
def test_what_does_not_is_shown_to_the_model_once(words, problem):
  reply, chats = ask(text(words), text('{"n": 3}'))
  assert reply.value == {'n': 3} and reply.usage == llm.Usage(20, 2, 2)
  _, shown, error = chats[1]
  assert shown == types.Message('assistant', words or '(nothing)')
  assert error.role == 'user' and problem in error.content
  with pytest.raises(llm.Unparsable) as e:
    ask(text(words), text(words))
  assert problem in e.value.detail and e.value.usage.calls == 2


def test_tools_must_exist():
  good = call('find', a=1)
  assert ask(good, schema=None, tools=TOOLS)[0].message == good.message
  reply, chats = ask(call('fnd', a=1), good, schema=None, tools=TOOLS)
  assert reply.message == good.message
  assert '"arguments": {"a": 1}' in chats[1][1].content
  assert not chats[1][1].tool_calls  # servers want results of such
  assert "no tool 'fnd'. Did you mean 'find'?" in chats[1][2].content
  with pytest.raises(llm.Unparsable, match='no tool'):
    ask(call('x'), call('y'), schema=None)


def test_an_empty_message_is_no_answer():
  with pytest.raises(llm.Unparsable, match='empty'):
    ask(text(' '), text(None), schema=None)


def test_what_could_not_be_read_is_mended_too():
  reply, chats = ask(text('[..', problem='It has bad calls.'), text('Hi.'),
                     schema=None)
  assert reply.message.content == 'Hi.'
  assert 'bad calls' in chats[1][2].content


@pytest.mark.parametrize('end, kind, reason', [
    ('refused', llm.Refused, 'refused'),
    ('truncated', llm.Truncated, 'answer too long'),
    ('no room', llm.NoRoom, 'no room')])
def test_refusals_and_cut_answers_are_not_tried_again(end, kind, reason):
  with pytest.raises(kind) as e:
    ask(text('{"n": 3}', end=end))
  assert e.value.usage == llm.Usage(10, 1, 1) and e.value.kind == reason
