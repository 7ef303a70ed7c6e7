"""Reads the declared fields of a stage from its config.

A stage declares its config as a frozen dataclass and reads it once, before it
loads anything; after that it knows attributes only, so it cannot read a field
that it does not declare. Every field must stand in the config file: a default
of the dataclass is ignored.

  @dataclasses.dataclass(frozen=True)
  class Config:
    seed: int
    domains: tuple[str, ...]
    limits: dialogue.Limits  # a section with its own declared fields
    lamp: Annotated[Mapping[str, Any], fields.ArgumentsOf(lamp.make)]
    model: Annotated[Mapping[str, Any], fields.SomeOf(ModelConfig)]
    llm_kw: Mapping[str, Any]  # checked where it is passed on

  config = fields.read(Config, config)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import inspect
import types
import typing
from typing import Any, TypeVar

from agentrl import resolve

T = TypeVar('T')
_WORDS = {int: 'an integer', float: 'a number', bool: 'True or False',
          str: 'a string', type(None): 'None'}


@dataclasses.dataclass(frozen=True)
class ArgumentsOf:
  """Marks a section as the keyword arguments of a function.

  A function with `**kwargs` checks these itself.

  Attributes:
    function: takes the section.
    positional: how many of its first arguments the caller gives.
  """

  function: Callable[..., Any]
  positional: int = 0


@dataclasses.dataclass(frozen=True)
class SomeOf:
  """Marks a section that may give any of the fields of a dataclass."""

  cls: type


def read(cls: type[T], config: Mapping[str, Any], *, name: str = 'config',
         where: str = 'this stage') -> T:
  """Returns the fields of a config or of one of its sections.

  Args:
    cls: dataclass that declares them.
    config: ConfigDict or nested dict.
    name: name of the config in errors.
    where: name of its owner in errors about unknown fields.

  Raises:
    ValueError: a field is unknown, missing or of another type.
  """
  values, hints = _plain(config), _hints(cls)
  names = [field.name for field in dataclasses.fields(cls)]
  _check_names(values, name, known=names, needed=names, where=where)
  return cls(**{field: _read(values[field], hints[field], f'{name}.{field}')
                for field in names})


def plain(config: Any) -> dict[str, Any]:
  """Returns a config as nested dicts, whether or not it was read."""
  return (dataclasses.asdict(config) if dataclasses.is_dataclass(config)
          else _plain(config))


def check_arguments(function: Callable[..., Any], values: Mapping[str, Any],
                    name: str, positional: int = 0) -> None:
  """Raises ValueError unless a section fits the arguments of a function.

  Args:
    function: takes the section as keyword arguments.
    values: the section.
    name: name of the section in errors.
    positional: how many of its first arguments the caller gives.
  """
  parameters = list(inspect.signature(function).parameters.values())
  given = {p.name for p in parameters[:positional]}
  own = {p.name: p for p in parameters[positional:]
         if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
  open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
  known = {*own, *(set(values) - given if open_ended else ())}
  _check_names(values, name, known=known, where=function.__qualname__,
               needed=[p.name for p in own.values() if p.default is p.empty])
  hints = _hints(function)
  for field in own.keys() & values.keys():
    _read(values[field], hints.get(field, Any), f'{name}.{field}')


def _check_some(cls: type, values: Mapping[str, Any], name: str) -> None:
  """Raises ValueError for a field that a dataclass lacks or of another type."""
  hints = _hints(cls)
  _check_names(values, name, known=hints, needed=(), where=cls.__name__)
  for field, value in values.items():
    hint = next((t for t in typing.get_args(hints[field])
                 if dataclasses.is_dataclass(t)), hints[field])
    if dataclasses.is_dataclass(hint) and value is not None:
      _check_some(hint, _section(value, f'{name}.{field}'), f'{name}.{field}')
    else:
      _read(value, hints[field], f'{name}.{field}')


def _check_names(values: Mapping[str, Any], name: str, *,
                 known: Sequence[str], needed: Sequence[str],
                 where: str) -> None:
  for field in values:
    if field not in known:
      raise ValueError(f'{name}.{field} would have no effect: {where} has no '
                       'such field.' + resolve.hint(field, known))
  for field in needed:
    if field not in values:
      raise ValueError(f'{name}.{field} is missing, and {where} needs it: give '
                       'it in the config file.')


def _read(value: Any, hint: Any, name: str) -> Any:
  """Returns a value as its declared type has it."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin is typing.Annotated:
    return _read_marked(value, args[1], name)
  if origin in (typing.Union, types.UnionType):
    return _read_optional(value, args, name)
  if origin is typing.Literal:
    if value not in args:
      raise ValueError(f'{name} must be one of {", ".join(map(repr, args))}, '
                       f'got {value!r}.')
    return value
  if dataclasses.is_dataclass(hint):
    return read(hint, _section(value, name), name=name, where=hint.__name__)
  if origin is tuple or origin is Sequence:
    return _read_tuple(value, args, name)
  if origin is Mapping:
    return {key: _read(inner, args[1], f'{name}.{key}')
            for key, inner in _section(value, name).items()}
  if hint is Any:
    return value
  kinds = (int, float) if hint is float else hint
  # A bool is an int, too.
  if not isinstance(value, kinds) or isinstance(value, bool) != (hint is bool):
    raise ValueError(f'{name} must be {_WORDS[hint]}, got {value!r}.')
  return value


def _read_marked(value: Any, mark: Any, name: str) -> dict[str, Any]:
  section = _section(value, name)
  if isinstance(mark, SomeOf):
    _check_some(mark.cls, section, name)
  else:
    check_arguments(mark.function, section, name, mark.positional)
  return section


def _read_optional(value: Any, kinds: Sequence[Any], name: str) -> Any:
  if value is None and type(None) in kinds:
    return None
  first, *others = (kind for kind in kinds if kind is not type(None))
  if others:
    raise TypeError(f'{name}: only `X | None` can be declared, not {kinds}.')
  return _read(value, first, name)


def _read_tuple(value: Any, kinds: Sequence[Any], name: str) -> tuple[Any, ...]:
  if not isinstance(value, list | tuple):
    raise ValueError(f'{name} must be a tuple, got {value!r}.')
  if kinds[-1] is Ellipsis or len(kinds) == 1:
    kinds = kinds[:1] * len(value)
  if len(kinds) != len(value):
    raise ValueError(f'{name} must have {len(kinds)} entries, got {value!r}.')
  return tuple(_read(entry, kind, f'{name}[{i}]')
               for i, (entry, kind) in enumerate(zip(value, kinds)))


def _section(value: Any, name: str) -> dict[str, Any]:
  if not hasattr(value, 'keys'):
    raise ValueError(f'{name} must be a section with fields of its own, got '
                     f'{value!r}.')
  return _plain(value)


def _plain(config: Any) -> dict[str, Any]:
  """Returns a ConfigDict or a mapping as a dict."""
  return config.to_dict() if hasattr(config, 'to_dict') else dict(config)


def _hints(owner: Any) -> dict[str, Any]:
  return typing.get_type_hints(owner, include_extras=True)
