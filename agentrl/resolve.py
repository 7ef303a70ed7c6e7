"""Resolves names in configs to Python objects; errors name similar names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import difflib
import importlib
import inspect
import os
import re
from typing import Any

MOST_NAMES = 12  # in a hint


def hint(name: str, known: Iterable[str]) -> str:
  """Returns ' Did you mean ...?', or the known names if none is similar."""
  known = sorted(map(str, known))
  near = difflib.get_close_matches(str(name), known, n=3)
  if near:
    return f' Did you mean {" or ".join(map(repr, near))}?'
  rest = f' and {len(known) - MOST_NAMES} more' * (len(known) > MOST_NAMES)
  return f' There are: {", ".join(known[:MOST_NAMES])}{rest}.' * bool(known)


def extra(module: str, name: str) -> Any:
  """Imports a module that comes with an extra of setup.py.

  Args:
    module: dotted name of the module.
    name: name of the extra.

  Raises:
    ValueError: it is not installed.
  """
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as e:
    raise ValueError(f'This needs the package {e.name}, which is not '
                     f'installed: pip install -e .[{name}].') from e


def name(path: str) -> Any:
  """Returns the object at an import path `package.module:name`.

  Raises:
    ValueError: the path is ill-formed, or leads nowhere.
  """
  module_name, colon, attribute = path.partition(':')
  if not colon:
    raise ValueError(f'{path!r} is not an import path: write it as '
                     "'package.module:name'.")
  try:
    module = importlib.import_module(module_name)
  except ModuleNotFoundError as e:
    raise ValueError(f'Cannot import {path!r}: {e}. Is its folder on '
                     'PYTHONPATH?') from e
  if not hasattr(module, attribute):
    public = [n for n in vars(module) if not n.startswith('_')]
    raise ValueError(f'{module_name} has no {attribute!r}.'
                     + hint(attribute, public))
  return getattr(module, attribute)


def variable(name: str) -> str:
  """Returns the name of an environment variable that a config gives.

  Raises:
    ValueError: it is no such name. It may be the secret itself, so the error
      does not quote it.
  """
  if name in os.environ or re.fullmatch('[A-Z_][A-Z0-9_]{0,63}', name):
    return name
  raise ValueError(
      'The config names environment variables for key and url, in capitals, '
      'and was given something else (not shown here: it may be a secret): '
      'export it as a variable, and give the name of that.')


def call(fn: Callable[..., Any], kwargs: Mapping[str, Any]) -> Any:
  """Calls `fn(**kwargs)`, after checking the names of the arguments.

  Raises:
    ValueError: an unknown or a missing keyword argument.
  """
  check(fn, kwargs)
  return fn(**kwargs)


def check(fn: Callable[..., Any], kwargs: Mapping[str, Any]) -> None:
  """Raises ValueError unless `kwargs` fit the signature of `fn`."""
  params = inspect.signature(fn).parameters
  if any(p.kind is p.VAR_KEYWORD for p in params.values()):
    return
  label = getattr(fn, '__qualname__', str(fn))
  for key in kwargs:
    if key not in params:
      raise ValueError(f'{label} takes no {key!r}.' + hint(key, params))
  missing = [k for k, p in params.items()
             if p.default is p.empty and k not in kwargs]
  if missing:
    raise ValueError(f'{label} needs {", ".join(map(repr, missing))}.')
