"""Shares the benchmark's databases between dialogues and copies single rows.

A database of tau2-bench is parsed once a process. A dialogue gets tables that
point to the shared rows; a row is copied when a tool asks for it by its key,
because the tool may change it. Tools that walk over a whole table only read
(`tests/envs/tau2/state_test.py` checks that) and see the shared rows.

So a fresh database costs a few dictionaries, and two states can be compared
by the few rows that either has touched. The comparison agrees with the
package's `get_hash`, which hashes the sorted JSON of all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import copy
import json
from typing import Any

from agentrl.envs import env as env_lib

_GONE = object()
Changes = Mapping[tuple[str, Any], str]


class SharedTable(dict):
  """Holds the rows of `base` and copies each on its first access by key.

  It is a complete dictionary, so pydantic and `json` read it as one.

  Attributes:
    base: key -> shared row.
    own: keys of all rows that may differ from those of the base.
  """

  __slots__ = ('base', 'own')

  def __init__(self, base: Mapping[Any, Any]):
    super().__init__(base)
    self.base, self.own = base, set()

  def __getitem__(self, key: Any) -> Any:
    row = super().__getitem__(key)
    if key not in self.own:
      self[key] = row = copy_row(row)
    return row

  def get(self, key: Any, default: Any = None) -> Any:
    try:
      return self[key]
    except KeyError:
      return default

  def __setitem__(self, key: Any, row: Any) -> None:
    super().__setitem__(key, row)
    self.own.add(key)

  def __delitem__(self, key: Any) -> None:
    super().__delitem__(key)
    self.own.add(key)

  def _refuse(self, *args: Any, **kw: Any) -> Any:
    raise env_lib.ToolBroken(
        'A tool of the benchmark changes a table in a way that it did not in '
        '0.2.1 and 1.0.1, and would change shared rows: teach it to '
        'agentrl.envs.tau2.state.SharedTable.')

  pop = popitem = setdefault = update = clear = _refuse
  __ior__ = _refuse


def copy_row(value: Any) -> Any:
  """Copies a row deeply: models, dictionaries and lists of plain values."""
  kind = type(value)
  if kind in (str, int, float, bool, type(None)):
    return value
  if kind is dict:
    return {k: copy_row(v) for k, v in value.items()}
  if kind is list:
    return [copy_row(v) for v in value]
  if hasattr(kind, '__pydantic_fields__'):
    # Like `model_copy`, but without the set of the fields that were given: it
    # is never read, and copying it took longer than everything else.
    new = kind.__new__(kind)
    fields = {name: copy_row(field) for name, field in value.__dict__.items()}
    object.__setattr__(new, '__dict__', fields)
    object.__setattr__(new, '__pydantic_fields_set__', set())
    object.__setattr__(new, '__pydantic_extra__', None)
    object.__setattr__(new, '__pydantic_private__', None)
    return new
  return copy.deepcopy(value)


def is_fresh(db: Any) -> bool:
  """Returns whether the database came from `SharedDatabase.fresh` and was not
  replaced since."""
  return all(isinstance(getattr(db, name), SharedTable)
             for name in type(db).model_fields)


class SharedDatabase:
  """Holds a parsed database that many dialogues share.

  Args:
    db: the package's database; each of its fields is a table by key.
  """

  def __init__(self, db: Any):
    self._db = db
    self._texts: dict[tuple[str, Any], str] = {}

  @staticmethod
  def fits(db: Any) -> bool:
    """Returns whether every field of the database is a table."""
    return all(type(getattr(db, name)) is dict
               for name in type(db).model_fields)

  def fresh(self) -> Any:
    """Returns a database in its first state, of the package's own type."""
    return type(self._db).model_construct(**{
        name: SharedTable(getattr(self._db, name))
        for name in type(self._db).model_fields})

  def changes(self, db: Any) -> Changes:
    """Returns (table, key) -> JSON of each row that differs from the first
    state, '' for a deleted row.

    Two databases from `fresh` have equal `get_hash` if and only if these
    mappings are equal.
    """
    return {place: text for place, text in _texts(db)
            if text != self.text(place)}

  def text(self, place: tuple[str, Any]) -> str:
    """Returns the JSON of a row in the first state, '' if there was none."""
    if place not in self._texts:
      table, key = place
      row = getattr(self._db, table).get(key, _GONE)
      self._texts[place] = _text(row)
    return self._texts[place]


def _texts(db: Any) -> Iterator[tuple[tuple[str, Any], str]]:
  for name in type(db).model_fields:
    table = getattr(db, name)
    for key in table.own:
      yield (name, key), _text(dict.get(table, key, _GONE))


def _text(row: Any) -> str:
  """Returns the JSON of a row as the package's hash sees it."""
  if row is _GONE:
    return ''
  return json.dumps(row.model_dump(), sort_keys=True, default=str)
