"""Holds the state of a domain: tables of records, copied only where written.

Hundreds of dialogues share one database; each holds only the records that it
has changed. So the changes, which checkers read, are known without comparing
whole databases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import copy
from typing import Any

Record = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Record]]
_GONE = object()


class State:
  """Copy-on-write view of `tables` (table -> key -> record of plain JSON)."""

  def __init__(self, tables: Tables):
    self._base = tables
    self._own: dict[tuple[str, str], dict[str, Any]] = {}
    self._since: set[tuple[str, str]] = set()  # copied since the last mark

  def get(self, table: str, key: str) -> Record | None:
    """Returns a record, or None. Callers must not write to it."""
    own = self._own.get((table, key))
    return own if own is not None else self._base[table].get(key)

  def rows(self, table: str) -> Iterator[tuple[str, Record]]:
    """Yields (key, record) of a whole table, to read."""
    for key, record in self._base[table].items():
      yield key, self._own.get((table, key), record)
    for name, key in self._own:
      if name == table and key not in self._base[table]:
        yield key, self._own[name, key]

  def edit(self, table: str, key: str) -> dict[str, Any]:
    """Returns this dialogue's own copy of a record, {} if there is none.

    It may be written to until the next `mark` or `rewind`.
    """
    address = table, key
    if address not in self._since:
      self._own[address] = copy.deepcopy(dict(self.get(table, key) or {}))
      self._since.add(address)
    return self._own[address]

  def mark(self) -> Any:
    """Returns a point to `rewind` to.

    Cheap: no record is copied before it is written to again.
    """
    self._since = set()
    return dict(self._own)

  def rewind(self, mark: Any) -> None:
    """Undoes all that was written since `mark`."""
    self._own, self._since = dict(mark), set()

  def changes(self) -> dict[str, Any]:
    """Returns every changed field as {'table.key.field': new value}.

    Nested records are compared by field, lists as a whole; a removed field has
    the value None.
    """
    changed = {}
    for (table, key), own in self._own.items():
      compare(self._base[table].get(key, {}), own, f'{table}.{key}', changed)
    return dict(sorted(changed.items()))


def compare(old: Any, new: Any, path: str, changed: dict[str, Any]) -> None:
  """Adds every field below `path` that differs to `changed`.

  Args:
    old: record, field or `_GONE` before.
    new: the same after; None if it was removed.
    path: `table.key.field` of both.
    changed: gets path -> new value, see `State.changes`.
  """
  if isinstance(old, Mapping) and isinstance(new, Mapping):
    for name in {**old, **new}:
      compare(old.get(name, _GONE), new.get(name), f'{path}.{name}', changed)
  elif type(old) is not type(new) or old != new:
    changed[path] = new
