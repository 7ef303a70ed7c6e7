"""Rows of a published corpus as messages; see `published.py`.

Everything here is a function of one row or of rows of one dialogue; what is
ill-formed is a typed rejection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import json
from typing import Any

from agentrl import types
from agentrl.eigendata import rejection

Row = Mapping[str, Any]


def parse(line: bytes) -> Row:
  """A row of a file.

  Raises:
    SampleRejected: it is not a JSON object, or holds half a character.
  """
  try:
    row = json.loads(line)
    if b'\\u' in line:  # half of a pair is JSON, but no text
      json.dumps(row, ensure_ascii=False).encode()
  except (ValueError, RecursionError) as e:
    raise rejection.SampleRejected(
        types.Worker.READ, 'not JSON', str(e)[:200]) from e
  if not isinstance(row, dict):
    raise rejection.SampleRejected(
        types.Worker.READ, 'not a JSON object', str(row)[:200])
  return row


def about(row: Row) -> Row:
  """Notes of the makers on a row."""
  found = row.get('metadata')
  return found if isinstance(found, dict) else {}


def messages(row: Row) -> tuple[types.Message, ...]:
  """The dialogue up to the answer of a row.

  Raises:
    SampleRejected: it is none.
  """
  given, answer = row.get('messages'), row.get('answer')
  if not isinstance(given, list) or not isinstance(answer, dict):
    raise rejection.SampleRejected(
        types.Worker.READ, 'no messages or no answer', str(sorted(row))[:200])
  found: list[types.Message] = []
  waiting: list[tuple[str, types.ToolCall]] = []  # their id of it, the call
  for m in [*given, {**answer, 'role': 'assistant'}]:
    role = m.get('role') if isinstance(m, dict) else None
    if role == 'system':
      continue  # ours has policy and tools as well
    if role not in ('assistant', 'user', 'tool'):
      raise rejection.SampleRejected(
          types.Worker.READ, 'a message of no role', str(m)[:200])
    if (role == 'tool') != bool(waiting):
      raise rejection.SampleRejected(
          types.Worker.READ, 'calls and results do not match', str(m)[:200])
    if role == 'tool':
      found.append(_result(m, waiting))
      continue
    waiting = _calls(m.get('tool_calls'), role, len(found))
    text, calls = _text(m.get('content')), tuple(c for _, c in waiting)
    if not text and not calls:
      raise rejection.SampleRejected(
          types.Worker.READ, 'an empty message', str(m)[:200])
    thought = _text(m.get('thinking')) if role == 'assistant' else None
    found.append(types.Message(role, text, calls, requestor=role,
                               thinking=thought))
  return tuple(found)


def _result(m: Row, waiting: list[tuple[str, types.ToolCall]]
            ) -> types.Message:
  """The result of the call that it names, else of the first that waits."""
  theirs = str(m.get('tool_call_id') or m.get('id'))
  place = next((i for i, (name, _) in enumerate(waiting) if name == theirs), 0)
  _, call = waiting.pop(place)
  text = _text(m.get('content')) or ''
  return types.Message('tool', text, id=call.id, requestor=call.requestor,
                       error=text.startswith('Error'))


def _calls(given: Any, side: types.Side, place: int
           ) -> list[tuple[str, types.ToolCall]]:
  """(their id, call) of each call of a message: in OpenAI's form, or with name
  and arguments alone."""
  found = []
  for c in given if isinstance(given, list) else ():
    function = c.get('function') or c if isinstance(c, dict) else c
    function = function if isinstance(function, dict) else {}
    name, arguments = function.get('name'), function.get('arguments') or {}
    try:
      if isinstance(arguments, str):
        arguments = json.loads(arguments)
    except ValueError as e:
      raise rejection.SampleRejected(
          types.Worker.READ, 'arguments are not JSON', arguments[:200]) from e
    if not isinstance(arguments, dict) or not isinstance(name, str):
      raise rejection.SampleRejected(
          types.Worker.READ, 'a call without name or arguments', str(c)[:200])
    found.append((str(c.get('id')), types.ToolCall(
        name, bare(arguments), f'{place}.{len(found)}', side)))
  return found


def _text(content: Any) -> str | None:
  """Text of a message, which may come in parts; None if there is none."""
  if isinstance(content, list):
    content = ''.join(str(part.get('text') or '') for part in content
                      if isinstance(part, dict))
  return content.strip() or None if isinstance(content, str) else None


def bare(value: Any) -> Any:
  """Without fields that are None: where rows of several kinds shared one
  schema, each has the fields of all."""
  if isinstance(value, dict):
    return {k: bare(v) for k, v in value.items() if v is not None}
  return [bare(v) for v in value] if isinstance(value, list) else value


def joined(found: Iterable[tuple[types.Message, ...]]
           ) -> list[tuple[types.Message, ...]]:
  """Those that no other begins with, with the thinking of all."""
  kept: list[list[types.Message]] = []
  for one in sorted(found, key=len, reverse=True):
    said = list(map(unthought, one))
    whole = next((other for other in kept
                  if list(map(unthought, other[:len(one)])) == said), None)
    if whole is None:
      kept.append(list(one))
      continue
    for place, message in enumerate(one):
      if message.thinking is not None:
        whole[place] = message
  return list(map(tuple, kept))


def unthought(message: types.Message) -> types.Message:
  return dataclasses.replace(message, thinking=None)
