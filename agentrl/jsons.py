"""Frozen dataclasses to plain JSON and back, by their type hints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import enum
import functools
import json
import typing
from typing import Any, TypeVar

import numpy as np

from agentrl import types

Json = Any
T = TypeVar('T')


def to_json(value: Any) -> Json:
  """Returns plain JSON of a dataclass, without fields at their default."""
  if isinstance(value, enum.Enum):
    return value.value
  if isinstance(value, np.ndarray):
    return [round(x, 6) if isinstance(x, float) else x for x in value.tolist()]
  if dataclasses.is_dataclass(value):
    pairs = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
    return {f.name: to_json(v) for f, v in pairs if not _is_default(f, v)}
  if isinstance(value, Mapping):
    return {str(k): to_json(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [to_json(v) for v in value]
  return value


def _is_default(field: dataclasses.Field, value: Any) -> bool:
  if isinstance(value, np.ndarray):
    return False
  if field.default_factory is not dataclasses.MISSING:
    return value == field.default_factory()
  return field.default is not dataclasses.MISSING and value == field.default


def dumps(value: Any) -> str:
  """Returns one line of JSON, stable: the same value gives the same text."""
  return json.dumps(to_json(value), ensure_ascii=False, sort_keys=True)


def from_json(cls: type[T], record: Json) -> T:
  """Reads an instance of a dataclass; the inverse of `to_json`.

  Args:
    cls: a dataclass. Its fields may be dataclasses, enums, arrays (as
      `Annotated[np.ndarray, dtype]`), and tuples and mappings of these; every
      other field is taken as it comes.
    record: a JSON object with the names of its fields as keys.

  Raises:
    ValueError: it is no object, or has a field that the class lacks.
  """
  if not isinstance(record, Mapping):
    raise ValueError(
        f'{cls.__name__} must be a JSON object, got {type(record).__name__}: '
        f'{str(record)[:80]!r}.')
  readers = _readers(cls)
  if unknown := sorted(set(record) - set(readers)):
    raise ValueError(
        f'{cls.__name__} has no field {unknown}; it has {sorted(readers)}. '
        'Was the file written by another version?')
  return cls(**{k: readers[k](v) for k, v in record.items()})


def all_from_json(cls: type[T], records: Iterable[Json]) -> tuple[T, ...]:
  """Reads an instance from each record; see `from_json`."""
  return tuple(from_json(cls, record) for record in records)


@functools.cache
def _readers(cls: type) -> dict[str, Callable[[Json], Any]]:
  """Returns field name -> function that reads its value."""
  hints = typing.get_type_hints(cls, include_extras=True)
  return {f.name: _reader(hints[f.name]) for f in dataclasses.fields(cls)}


def _reader(hint: Any) -> Callable[[Json], Any]:
  """Returns the function that reads a value of a type."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if type(None) in args:  # X | None
    inner = _reader(next(a for a in args if a is not type(None)))
    return lambda value: None if value is None else inner(value)
  if origin is typing.Annotated:
    return functools.partial(np.asarray, dtype=hint.__metadata__[0])
  if origin is tuple and args[-1] is Ellipsis:
    inner = _reader(args[0])
    return lambda value: tuple(map(inner, value))
  if origin is tuple:
    inners = tuple(map(_reader, args))
    return lambda value: tuple(
        read(v) for read, v in zip(inners, value, strict=True))
  if isinstance(origin, type) and issubclass(origin, Mapping):
    inner = _reader(args[1])
    return lambda value: {k: inner(v) for k, v in value.items()}
  if dataclasses.is_dataclass(hint):
    return functools.partial(from_json, hint)
  if isinstance(hint, type) and issubclass(hint, enum.Enum):
    return hint
  return lambda value: value


def to_openai(message: types.Message) -> dict[str, Json]:
  """Returns the message in the OpenAI chat format."""
  record = {'role': message.role, 'content': message.content}
  if message.role == 'tool':
    record['tool_call_id'] = message.id
  if message.is_call:
    record['tool_calls'] = [
        {'id': c.id, 'type': 'function', 'function': {
            'name': c.name, 'arguments': json.dumps(
                dict(c.arguments), ensure_ascii=False)}}
        for c in message.tool_calls]
  return record
