"""Proposes other values for the arguments of tool calls, the likeliest first.

Strings come from the columns of the task's database that have the old value.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Set
import dataclasses
import functools
import json
import random
from typing import Any

from agentrl import jsons
from agentrl import types
from agentrl.eigendata import source

MOST = 30  # candidates for one place in a value


class Proposer:
  """Proposes values for calls of one task.

  Args:
    env: environment of the task.
    task: the task.
    shown: text of tool results; strings in it are the likeliest.
    rng: draws the order of the candidates.
  """

  def __init__(self, env: source.WritableEnv, task: types.Task, shown: str,
               rng: random.Random):
    self._env, self._task, self._shown, self._rng = env, task, shown, rng

  def variants(self, call: types.ToolCall, name: str) -> Iterator[list[Any]]:
    """Yields, for each place in an argument, values that differ only there."""
    value = call.arguments[name]
    if choices := _schema(
        self._env, self._task, call, name).get('enum', ()):
      yield [c for c in choices if c != value]
    else:
      yield from self._changed(value)

  def _changed(self, value: Any) -> Iterator[list[Any]]:
    match value:
      case bool():
        yield [not value]
      case int() | float():
        yield [value + 1, value - 1]
      case str():
        yield self._peers(value)
      case list() | dict():
        if isinstance(value, list) and value[1:]:
          yield [value[:-1]]
        for key in value if isinstance(value, dict) else range(len(value)):
          for candidates in self._changed(value[key]):
            yield [_replaced(value, key, other) for other in candidates]

  def _peers(self, value: str) -> list[str]:
    """Returns strings of the same columns; first those in `shown`."""
    columns, places = _columns(
        self._env, jsons.dumps(self._task.initial_state or {}))
    peers = sorted({peer for place in places.get(value, ())
                    for peer in columns[place]} - {value})
    near = [p for p in peers if p in self._shown]
    far = self._rng.sample(peers, min(MOST, len(peers)))
    return [*self._rng.sample(near, len(near)), *far][:MOST] or [f'{value} x']

  def calls_about_others(self, call: types.ToolCall
                         ) -> Iterator[types.ToolCall]:
    """Yields the call with another value in one place of its arguments; with
    one value only for each place within a list or an object."""
    for name, old in call.arguments.items():
      most = 1 if isinstance(old, (list, dict)) else MOST
      for candidates in self.variants(call, name):
        for value in candidates[:most]:
          yield dataclasses.replace(
              call, arguments={**call.arguments, name: value})


def _replaced(value: Any, key: Any, item: Any) -> Any:
  """Returns a copy of a list or dictionary with another item at a key."""
  value = value.copy()
  value[key] = item
  return value


def _schema(env: source.WritableEnv, task: types.Task, call: types.ToolCall,
            name: str) -> Mapping[str, Any]:
  """Returns the JSON schema of an argument; {} if the tool has none such."""
  return next((s['function']['parameters']['properties'].get(name, {})
               for s in env.tools(call.requestor, task)
               if s['function']['name'] == call.name), {})


def strings(env: source.WritableEnv, start: Mapping[str, Any]) -> Set[str]:
  """Returns all strings of the database of an initial state, keys included."""
  return _columns(env, jsons.dumps(start))[1].keys()


@functools.lru_cache(maxsize=256)
def _columns(env: source.WritableEnv, start: str
             ) -> tuple[dict[str, set[str]], dict[str, list[str]]]:
  """Returns column -> its strings, and string -> its columns; keys included."""
  columns: dict[str, set[str]] = collections.defaultdict(set)
  for table, records in env.tables(**json.loads(start)).items():
    columns[table] = set(records)
    for record in records.values():
      for field, value in record.items():
        for column, word in _strings(f'{table}.{field}', value):
          columns[column].add(word)
  places: dict[str, list[str]] = {}
  for column, values in columns.items():
    for value in values:
      places.setdefault(value, []).append(column)
  return columns, places


def _strings(column: str, value: Any) -> Iterator[tuple[str, str]]:
  """Yields (column, string) of all strings in a field.

  The keys of an object of objects are strings of its column; those of a record
  are columns.
  """
  match value:
    case str():
      yield column, value
    case list():
      for item in value:
        yield from _strings(column, item)
    case dict():
      is_table = all(isinstance(v, dict) for v in value.values())
      for key, item in value.items():
        if is_table:
          yield column, key
        yield from _strings(column if is_table else f'{column}.{key}', item)
