"""Makes tools of typed functions: schemas, and calls that cannot go wrong.

The first parameter of such a function is the state (`state.State`); its
docstring is the description, and the section `Args:` describes its arguments.
Schema and validation come from the type hints, through pydantic in strict
mode: `"3"` is not 3, and an unknown argument is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import functools
import inspect
import json
import re
import typing
from typing import Any

import pydantic

from agentrl import resolve
from agentrl import types
from agentrl.envs import env as env_lib


class ToolError(Exception):
  """A tool refuses a call; the text of the error is the observation."""


@dataclasses.dataclass(frozen=True)
class Tool:
  """One tool, ready to be called and described."""

  name: str
  fn: Callable[..., Any]
  arguments: type[pydantic.BaseModel]

  @functools.cached_property
  def schema(self) -> dict[str, Any]:
    """Returns the OpenAI function schema."""
    parameters = self.arguments.model_json_schema()
    parameters.pop('title', None)
    for prop in parameters.get('properties', {}).values():
      prop.pop('title', None)
    summary = inspect.getdoc(self.fn).split('\n\nArgs:')[0]
    return {'type': 'function', 'function': {
        'name': self.name, 'description': ' '.join(summary.split()),
        'parameters': parameters}}


def from_function(fn: Callable[..., Any]) -> Tool:
  """Returns the tool of a typed function.

  Raises:
    ValueError: it has no docstring, or a parameter without a type.
  """
  if not inspect.getdoc(fn):
    raise ValueError(f'Tool {fn.__name__} has no docstring: the model reads it '
                     'as the description. Add one.')
  hints = typing.get_type_hints(fn)
  descriptions = _descriptions(inspect.getdoc(fn))
  fields = {}
  for param in list(inspect.signature(fn).parameters.values())[1:]:
    if param.name not in hints:
      raise ValueError(f'Parameter {param.name!r} of tool {fn.__name__} has no '
                       'type: its schema is made from the type hints.')
    default = ... if param.default is param.empty else param.default
    fields[param.name] = (hints[param.name], pydantic.Field(
        default, description=descriptions.get(param.name)))
  config = pydantic.ConfigDict(extra='forbid', strict=True)
  model = pydantic.create_model(fn.__name__, __config__=config, **fields)
  return Tool(fn.__name__, fn, model)


def _descriptions(doc: str) -> dict[str, str]:
  """Returns argument -> description, read from a docstring."""
  _, _, args = doc.partition('Args:')
  args = re.split(r'\n\s*(?:Returns|Raises):', args)[0]
  pairs = re.findall(r'^\s*(\w+):\s*((?:.|\n(?!\s*\w+:))*)', args, re.M)
  return {name: ' '.join(text.split()) for name, text in pairs}


def by_name(fns: Iterable[Callable[..., Any]]) -> dict[str, Tool]:
  """Returns the tools of functions by their names."""
  return {tool.name: tool for tool in map(from_function, fns)}


def call(tools: Mapping[str, Tool], state: Any,
         request: types.ToolCall) -> types.Message:
  """Validates and runs one call; a refused call leaves `state` as it was.

  Args:
    tools: tools by name.
    state: see `state.State`.
    request: the call.

  Returns:
    the result as a tool message, with `error` set for a refused call.

  Raises:
    env.ToolBroken: the tool raised anything but `ToolError`.
  """
  before = state.mark()
  try:
    content, error = _observation(_run(tools, state, request)), False
  except ToolError as e:
    state.rewind(before)
    content, error = f'Error: {e}', True
  return types.Message('tool', content, id=request.id, error=error,
                       requestor=request.requestor)


def _run(tools: Mapping[str, Tool], state: Any, request: types.ToolCall) -> Any:
  if request.name not in tools:
    raise ToolError(f'there is no tool {request.name!r}.'
                    + resolve.hint(request.name, tools))
  tool = tools[request.name]
  try:
    checked = tool.arguments.model_validate(dict(request.arguments))
  except pydantic.ValidationError as e:
    raise ToolError('; '.join(map(_problem, e.errors()))) from None
  fields = tool.arguments.model_fields
  kwargs = {name: getattr(checked, name) for name in fields}
  try:
    return tool.fn(state, **kwargs)
  except ToolError:
    raise
  except Exception as e:
    raise env_lib.ToolBroken(
        f'Tool {tool.name}({kwargs}) raised {type(e).__name__}: {e}. A tool '
        'refuses a call by raising ToolError; anything else is a bug in it.'
    ) from e


def _problem(error: Mapping[str, Any]) -> str:
  """Describes one pydantic error in a few words."""
  argument = '.'.join(map(str, error['loc']))
  match error['type']:
    case 'missing':
      return f'argument {argument} is missing'
    case 'extra_forbidden':
      return f'argument {argument} is unknown'
  return f'argument {argument}: {error["msg"].lower()}, got {error["input"]!r}'


def _observation(result: Any) -> str:
  """Returns a tool's answer as text: strings as they are, else JSON."""
  return result if isinstance(result, str) else json.dumps(
      result, ensure_ascii=False)
