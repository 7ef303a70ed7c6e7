"""Chats go to the format and come back; what cannot be read is said."""

import json

import pytest

from agentrl import types
from agentrl.llm import llm
from agentrl.llm.openai import wire

MOST = llm.Usage(1000, 500, 1)
SYSTEM = types.Message('system', 'Do.')
HELLO = types.Message('user', 'Hello.')
TOOL = {'type': 'function', 'function': {'name': 'find'}}
SCHEMA = {'type': 'object', 'required': ['n']}


def request(messages, schema=None, tools=(), form='json_schema'):
  return wire.request(messages, schema=schema, tools=tools, form=form)


def reply(message, end='stop', **fields):
  return wire.answer({'choices': [{
      'finish_reason': end, 'message': {'role': 'assistant', **message}}],
      **fields}, MOST)


def called(arguments, name='find'):
  return {'content': None, 'tool_calls': [{
      'id': 'x', 'type': 'function',
      'function': {'name': name, 'arguments': arguments}}]}


def test_calls_and_results_share_an_id():
  calls = tuple(types.ToolCall('find', {'n': n}) for n in (1, 2))
  chat = [SYSTEM, HELLO, types.Message('assistant', tool_calls=calls),
          types.Message('tool', 'one', id='3.0'), types.Message('tool', 'two'),
          types.Message('assistant', 'Found.'), HELLO]
  said = request(chat)['messages']
  ids = [call['id'] for call in said[2]['tool_calls']]
  assert ids[0] == '3.0' and len({*ids}) == 2
  assert [m['tool_call_id'] for m in said[3:5]] == ids
  assert said[2]['tool_calls'][1]['function'] == {
      'name': 'find', 'arguments': '{"n": 2}'}
  assert said[5] == {'role': 'assistant', 'content': 'Found.'}


def test_what_is_said_comes_back_the_same():
  call = types.ToolCall('find', {'name': 'Zoë', 'n': [1, {}]})
  for message in (types.Message('assistant', 'Hi.'),
                  types.Message('assistant', 'Wait.', (call,)),
                  types.Message('tool', 'none', id='a'), HELLO):
    found, thinking, problem = wire.message(types.to_openai(message))
    assert (found, thinking, problem) == (message, '', '')


def test_an_empty_list_of_tools_is_not_sent():
  assert request([SYSTEM, HELLO], tools=(TOOL,))['tools'] == [TOOL]
  assert 'tools' not in request([SYSTEM, HELLO])


@pytest.mark.parametrize('form, field, stated', [
    ('json_schema', 'json_schema', False),
    ('json_object', 'json_object', True), ('prompt', None, True)])
@pytest.mark.parametrize('chat', [[SYSTEM], [SYSTEM, HELLO]])
def test_schemas_are_asked_for_in_the_way_the_server_knows(
    form, field, stated, chat):
  found = request(chat, schema=SCHEMA, form=form)
  assert found.get('response_format', {}).get('type') == field
  last = found['messages'][-1]
  assert last['role'] == 'user'  # many servers want one
  assert (json.dumps(SCHEMA) in last['content']) == stated
  assert found['messages'][0] == {'role': 'system', 'content': 'Do.'}


def test_cost_is_what_the_server_says_or_the_most():
  used = {'prompt_tokens': 9, 'completion_tokens': 2,
          'prompt_tokens_details': {'cached_tokens': 4}}
  assert reply({'content': 'Hi.'}, usage=used).usage == llm.Usage(9, 2, 1, 4)
  assert reply({'content': 'Hi.'}).usage == MOST
  assert reply({'content': 'Hi.'}, usage={**used, 'prompt_tokens_details': None}
              ).usage == llm.Usage(9, 2, 1)


@pytest.mark.parametrize('message', [
    {'content': '<think>\nHm.\n</think>\n\nHi.'}, {'content': 'Hm.</think>Hi.'},
    {'content': 'Hi.', 'reasoning_content': 'Hm.'},
    {'content': 'Hi.', 'reasoning': 'Hm.'}])
def test_thinking_is_no_part_of_the_message(message):
  found = reply(message)
  assert found.message.content == 'Hi.' and found.thinking == 'Hm.'


def test_thinking_that_never_ends_says_nothing():
  assert reply({'content': '<think>Hm'}).message.content is None


@pytest.mark.parametrize('message, end, found', [
    ({'content': 'No', 'refusal': 'I will not.'}, 'stop', 'refused'),
    ({'content': ''}, 'content_filter', 'refused'),
    ({'content': 'And so'}, 'length', 'truncated'),
    (called('{}'), 'tool_calls', 'stop'), ({'content': 'Hi.'}, None, 'stop')])
def test_how_it_ended(message, end, found):
  assert reply(message, end).end == found


@pytest.mark.parametrize('arguments', ['{"a": ', '[1]', '"x"', '{"a": NaN}',
                                       '{"a": "\\ud800"}', 3])
def test_arguments_that_are_no_object_are_a_problem(arguments):
  found = reply(called(arguments))
  assert 'cannot be read' in found.problem
  assert not found.message.is_call and 'find' in found.message.content


@pytest.mark.parametrize('arguments, value', [
    ('', {}), (None, {}), ({'a': 1}, {'a': 1}), ('{"a": 1}', {'a': 1})])
def test_arguments_that_can_be_read(arguments, value):
  found = reply(called(arguments))
  assert found.message.tool_calls == (types.ToolCall('find', value),)
  assert found.problem == ''


def test_half_a_character_is_replaced_and_named():
  found = reply({'content': 'Hi \ud83d'})
  assert found.message.content == 'Hi ?' and 'half a character' in found.problem


@pytest.mark.parametrize('body', [
    {}, [], None, 'x', {'choices': []}, {'choices': None}, {'choices': [{}]},
    {'choices': [{'message': 'x'}]}, {'error': {'message': 'me'}},
    {'choices': [{'message': {'content': [{'text': 'x'}]}}]},
    {'choices': [{'message': {'content': 'x'}}], 'usage': 'much'}])
def test_any_other_body_is_no_answer(body):
  with pytest.raises(ValueError, match='no choices'):
    wire.answer(body, MOST)
