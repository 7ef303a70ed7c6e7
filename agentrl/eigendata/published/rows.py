"""Converts rows of a published corpus to messages; see `stage.py`.

Every function depends on one row, or on the rows of one dialogue; ill-formed
rows are rejected with a kind.
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
  """Parses a row of a file.

  Raises:
    SampleRejected: it is not a JSON object, or holds half a character.
  """
  try:
    row = json.loads(line)
    if b'\\u' in line:  # half of a surrogate pair is JSON, but no text
      json.dumps(row, ensure_ascii=False).encode()
  except (ValueError, RecursionError) as e:
    raise rejection.SampleRejected(
        types.Worker.READ, 'not JSON', str(e)[:200]) from e
  if not isinstance(row, dict):
    raise rejection.SampleRejected(
        types.Worker.READ, 'not a JSON object', str(row)[:200])
  return row


def metadata(row: Row) -> Row:
  """Returns the makers' notes on a row."""
  notes = row.get('metadata')
  return notes if isinstance(notes, dict) else {}


def messages(row: Row) -> tuple[types.Message, ...]:
  """Returns the dialogue up to the answer of a row.

  Raises:
    SampleRejected: it is none.
  """
  given, answer = row.get('messages'), row.get('answer')
  if not isinstance(given, list) or not isinstance(answer, dict):
    raise rejection.SampleRejected(
        types.Worker.READ, 'no messages or no answer', str(sorted(row))[:200])
  read: list[types.Message] = []
  waiting: list[tuple[str, types.ToolCall]] = []  # (their id, call)
  for m in [*given, {**answer, 'role': 'assistant'}]:
    role = m.get('role') if isinstance(m, dict) else None
    if role == 'system':
      continue  # our system prompt has policy and tools as well
    if role not in ('assistant', 'user', 'tool'):
      raise rejection.SampleRejected(
          types.Worker.READ, 'a message of no role', str(m)[:200])
    if (role == 'tool') != bool(waiting):
      raise rejection.SampleRejected(
          types.Worker.READ, 'calls and results do not match', str(m)[:200])
    if role == 'tool':
      read.append(_result(m, waiting))
      continue
    waiting = _calls(m.get('tool_calls'), role, len(read))
    text, calls = _text(m.get('content')), tuple(c for _, c in waiting)
    if not text and not calls:
      raise rejection.SampleRejected(
          types.Worker.READ, 'an empty message', str(m)[:200])
    thought = _text(m.get('thinking')) if role == 'assistant' else None
    read.append(types.Message(role, text, calls, requestor=role,
                              thinking=thought))
  return tuple(read)


def _result(m: Row, waiting: list[tuple[str, types.ToolCall]]
            ) -> types.Message:
  """Converts the result of the call that it names, else of the first."""
  theirs = str(m.get('tool_call_id') or m.get('id'))
  place = next((i for i, (name, _) in enumerate(waiting) if name == theirs), 0)
  _, call = waiting.pop(place)
  text = _text(m.get('content')) or ''
  return types.Message('tool', text, id=call.id, requestor=call.requestor,
                       error=text.startswith('Error'))


def _calls(given: Any, side: types.Side, place: int
           ) -> list[tuple[str, types.ToolCall]]:
  """Returns (their id, call) of each call of a message, in the OpenAI form or
  with name and arguments only."""
  calls = []
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
    calls.append((str(c.get('id')), types.ToolCall(
        name, bare(arguments), f'{place}.{len(calls)}', side)))
  return calls


def _text(content: Any) -> str | None:
  """Returns the text of a message, which may come in parts; None without."""
  if isinstance(content, list):
    content = ''.join(str(part.get('text') or '') for part in content
                      if isinstance(part, dict))
  return content.strip() or None if isinstance(content, str) else None


def bare(value: Any) -> Any:
  """Removes fields that are None: where rows of several kinds shared one
  schema, each has the fields of all."""
  if isinstance(value, dict):
    return {k: bare(v) for k, v in value.items() if v is not None}
  return [bare(v) for v in value] if isinstance(value, list) else value


def joined(dialogues: Iterable[tuple[types.Message, ...]]
           ) -> list[tuple[types.Message, ...]]:
  """Drops dialogues that begin another one, and keeps their thinking in it."""
  kept: list[list[types.Message]] = []
  for one in sorted(dialogues, key=len, reverse=True):
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
  """Removes the thinking of a message."""
  return dataclasses.replace(message, thinking=None)
