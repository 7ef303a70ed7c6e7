"""Arguments after the colon of --config=file.py:arg."""

from __future__ import annotations

from collections.abc import Sequence
import types
from typing import Any

from agentrl import resolve


def parse_arg(arg: str | None, **defaults: Any) -> types.SimpleNamespace:
  """Parses `size=1b,tiny` to a namespace; a bare word sets a flag to True.

  Raises:
    ValueError: an unknown name, or a value of another type than its default.
  """
  values = dict(defaults)
  for part in filter(None, (arg or '').split(',')):
    key, equals, text = part.partition('=')
    if key not in defaults:
      raise ValueError(f'The config takes no argument {key!r}.'
                       + resolve.hint(key, defaults))
    values[key] = _read(key, text if equals else 'true', defaults[key])
  return types.SimpleNamespace(**values)


def _read(key: str, text: str, default: Any) -> Any:
  if isinstance(default, bool):
    return one_of(key, text.lower(), ('true', 'false')) == 'true'
  try:
    return type(default)(text)
  except ValueError as e:
    raise ValueError(f'Argument {key}={text!r} must be of type '
                     f'{type(default).__name__}.') from e


def one_of(key: str, value: str, allowed: Sequence[str]) -> str:
  """Returns `value` if it is allowed, else raises ValueError."""
  if value not in allowed:
    raise ValueError(f'{key} must be one of {", ".join(allowed)}, got '
                     f'{value!r}.')
  return value
