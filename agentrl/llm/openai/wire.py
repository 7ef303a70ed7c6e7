"""Converts requests and answers to and from the OpenAI chat format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import json
from typing import Any

from agentrl import types
from agentrl.llm import llm

FORMS = ('json_schema', 'json_object', 'prompt')
NOW = 'Answer now.'  # many servers want a user's message in every chat
SCHEMA = 'Answer with JSON of this schema, and with nothing else: {}'
_THINK, _THINK_END = '<think>', '</think>'
_ENDS = {'length': 'truncated', 'content_filter': 'refused'}


def request(messages: Sequence[types.Message], *,
            schema: Mapping[str, Any] | None,
            tools: Sequence[Mapping[str, Any]], form: str) -> dict[str, Any]:
  """Returns the fields of a request that hold the question.

  Args:
    messages: the chat. Calls without an id take the id of their result.
    schema: JSON schema of the answer, or None.
    tools: schemas of the tools that may be called.
    form: way to ask for a schema. `json_schema` leaves it to the server,
      `json_object` asks it for JSON and states the schema in the prompt,
      `prompt` only states it.
  """
  fields: dict[str, Any] = {}
  if tools:
    fields['tools'] = list(tools)
  stated = ''
  if schema is not None and form == 'json_schema':
    fields['response_format'] = {'type': 'json_schema', 'json_schema': {
        'name': 'answer', 'schema': dict(schema)}}
  elif schema is not None:
    stated = SCHEMA.format(json.dumps(schema))
    if form == 'json_object':
      fields['response_format'] = {'type': 'json_object'}
  return {'messages': list(map(types.to_openai, _with_ids(
      with_user(messages, stated)))), **fields}


def with_user(messages: Sequence[types.Message], stated: str
              ) -> list[types.Message]:
  """Returns the chat with a text stated by the user; without a text, some
  message of the user is added if there is none."""
  last = messages[-1]
  if stated and last.role == 'user':
    text = f'{last.content}\n\n{stated}'
    return [*messages[:-1], dataclasses.replace(last, content=text)]
  if stated or all(m.role != 'user' for m in messages):
    return [*messages, types.Message('user', stated or NOW)]
  return list(messages)


def _with_ids(messages: Sequence[types.Message]) -> list[types.Message]:
  """Returns the chat with an id for each call, and the same for its result."""
  numbered, ids = [], iter(())
  for i, m in enumerate(messages):
    if m.is_call:
      after = itertools.takewhile(lambda m: m.role == 'tool', messages[i + 1:])
      given = [result.id for result in after]
      calls = tuple(
          dataclasses.replace(call, id=call.id or name or f'{i}.{k}')
          for k, (call, name) in enumerate(
              zip(m.tool_calls, itertools.chain(given, itertools.repeat('')))))
      m, ids = dataclasses.replace(m, tool_calls=calls), iter(calls)
    elif m.role == 'tool':
      call = next(ids, None)
      m = dataclasses.replace(m, id=m.id or (call.id if call else ''))
    numbered.append(m)
  return numbered


def answer(body: Any, most: llm.Usage) -> llm.Answer:
  """Reads the answer in a server's response.

  Args:
    body: JSON of the response.
    most: its cost, if it does not state one.

  Raises:
    ValueError: it is no response to a chat.
  """
  try:
    choice = body['choices'][0]
    record = choice['message']
    refusal, end = record.get('refusal'), choice.get('finish_reason')
    said, thinking, problem = message(record)
    cost = usage(body, most)
  except (LookupError, TypeError, AttributeError) as e:
    raise ValueError(f'no choices in {json.dumps(body)[:200]}') from e
  if refusal:
    return llm.Answer(said, usage=cost, end='refused', problem=str(refusal))
  return llm.Answer(said, usage=cost, thinking=thinking, problem=problem,
                   end=_ENDS.get(end, 'stop'))


def message(record: Mapping[str, Any]) -> tuple[types.Message, str, str]:
  """Reads a message of the format.

  Returns:
    the message, with its calls as text if they cannot be read; the thinking
    before it; and the problem with it, '' without one.
  """
  text, thinking = _split(_text(record.get('content') or ''))
  thinking = (record.get('reasoning_content') or record.get('reasoning')
              or thinking)
  raw = record.get('tool_calls') or ()
  problem = ''
  try:
    calls = tuple(map(_call, raw))
  except (ValueError, LookupError, TypeError) as e:
    calls, problem = (), f'Its calls cannot be read: {e}.'
    text = f'{text}\n{json.dumps(raw)}'.strip()
  if broken := llm.unwritable([text, thinking]):
    text, thinking = (t.encode(errors='replace').decode()
                      for t in (text, thinking))
    problem = problem or f'It cannot be read: {broken}.'
  said = types.Message(record.get('role', 'assistant'), text or None, calls,
                       id=record.get('tool_call_id', ''))
  return said, thinking, problem


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
  """Returns the text of a message, which may come in parts with thinking."""
  if isinstance(content, str):
    return content
  return ''.join(part['text'] for part in content if part['type'] == 'text')


def _split(text: str) -> tuple[str, str]:
  """Returns the words, and the thinking before them."""
  before, mark, after = text.rpartition(_THINK_END)
  if mark:
    return after.lstrip(), before.replace(_THINK, '', 1).strip()
  if text.lstrip().startswith(_THINK):  # it never ended
    return '', text.strip()[len(_THINK):].strip()
  return text, ''


def _call(record: Mapping[str, Any]) -> types.ToolCall:
  """Reads a call, without its id: dialogues have ids of their own.

  Raises:
    ValueError: its arguments are not a JSON object.
  """
  name, text = (record['function'][k] for k in ('name', 'arguments'))
  if not isinstance(text, str):  # some servers parse them
    text = json.dumps(text or {})
  arguments = llm.loads(text or '{}')
  if not isinstance(arguments, dict):
    raise ValueError(f'arguments must be a JSON object, not {text[:80]!r}')
  if not isinstance(name, str):
    raise ValueError(f'a tool has a name, not {name!r}')
  return types.ToolCall(name, arguments)


def usage(body: Mapping[str, Any], most: llm.Usage) -> llm.Usage:
  """Reads the cost of a response: `most` if it does not state one."""
  stated = body.get('usage') or {}
  details = stated.get('prompt_tokens_details') or {}
  return llm.Usage(
      int(stated.get('prompt_tokens', most.prompt_tokens)),
      int(stated.get('completion_tokens', most.completion_tokens)), 1,
      int(details.get('cached_tokens') or 0))
