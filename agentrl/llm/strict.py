"""Accepts answers of the form that was asked for, or raises `BadAnswer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import json
import re
from typing import Any

import jsonschema

from agentrl import resolve
from agentrl import types
from agentrl.llm import llm

TRIES = 2  # per answer; in the second the model sees its mistake
MEND = ('Your answer cannot be used: {problem} Answer again, in full and in '
        'the form that was asked for.')
ENDS = {'refused': llm.Refused, 'truncated': llm.Truncated,
        'no room': llm.NoRoom}
# JSON schema takes 3.0 for an integer, but it cannot index a list.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        'integer', lambda _, value: type(value) is int))
_FENCE = re.compile(r'\s*```\w*\n(.*)\n\s*```\s*', re.DOTALL)
_SHOWN = 300  # characters of an error that quotes the answer


class Strict:
  """An `LLM` that accepts only answers of the form that was asked for.

  JSON must fit the schema; a message must say or call something, and call
  only tools that exist. Else the model sees its answer and the error once.

  Raises (`complete`):
    Refused, Truncated, NoRoom: at once.
    Unparsable: after the second try.
  """

  def __init__(self, inner: llm.LLM):
    self._inner = inner

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (),
               seed: int) -> llm.Answer:
    spent, problem = llm.Usage(), ''
    for _ in range(TRIES):
      reply = self._inner.complete(messages, schema=schema, tools=tools,
                                   seed=seed)
      spent += reply.usage
      if reply.end in ENDS:
        raise ENDS[reply.end](reply.problem or said(reply)[:_SHOWN], spent)
      value, problem = _read(reply, schema, tools)
      if not problem:
        return dataclasses.replace(reply, value=value, usage=spent)
      messages = [*messages, types.Message('assistant', said(reply)),
                  types.Message('user', MEND.format(problem=problem))]
    raise llm.Unparsable(problem, spent)


def said(reply: llm.Answer) -> str:
  """Returns the answer as text, calls included: servers refuse calls without
  their results as messages."""
  message = reply.message
  calls = [json.dumps({'name': c.name, 'arguments': dict(c.arguments)})
           for c in message.tool_calls]
  return '\n'.join([message.content or '', *calls]).strip() or '(nothing)'


def _read(reply: llm.Answer, schema: Mapping[str, Any] | None,
          tools: Sequence[Mapping[str, Any]]) -> tuple[Any, str]:
  """Returns parsed JSON, and the problem with the answer; '' without one."""
  message = reply.message
  if reply.problem:
    return None, reply.problem
  if schema is not None:
    return _parse(message.content or '', schema)
  names = [tool['function']['name'] for tool in tools]
  for call in message.tool_calls:
    if call.name not in names:
      return None, (f'There is no tool {call.name[:80]!r}.'
                    + resolve.hint(call.name, names))
  empty = not message.is_call and not message.has_text
  return None, 'It is empty.' * empty


def _parse(text: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
  fenced = _FENCE.fullmatch(text)
  try:
    value = llm.loads(fenced[1] if fenced else text)
  except ValueError as e:
    return None, f'It is not JSON ({str(e)[:_SHOWN]}).'
  error = jsonschema.exceptions.best_match(
      _Validator(schema).iter_errors(value))
  if error:
    return None, f'At {error.json_path}: {error.message[:_SHOWN]}.'
  return value, ''
