"""The state of a domain: tables of records, copied only where written.

Hundreds of dialogues share one database; each holds no more than the records
it has changed. What changed is therefore known without a comparison of whole
databases, and that is what checkers look at.
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
    """A record to read, or None. Writing to it is an error of the tool."""
    own = self._own.get((table, key))
    return own if own is not None else self._base[table].get(key)

  def rows(self, table: str) -> Iterator[tuple[str, Record]]:
    """(key, record) of a whole table, to read."""
    for key, record in self._base[table].items():
      yield key, self._own.get((table, key), record)
    for name, key in self._own:
      if name == table and key not in self._base[table]:
        yield key, self._own[name, key]

  def edit(self, table: str, key: str) -> dict[str, Any]:
    """This dialogue's own copy of a record, new if need be, to write to until
    the next `mark` or `rewind`."""
    place = table, key
    if place not in self._since:
      self._own[place] = copy.deepcopy(dict(self.get(table, key) or {}))
      self._since.add(place)
    return self._own[place]

  def mark(self) -> Any:
    """A point to `rewind` to; what is written from now on is written to new
    copies, so it costs next to nothing."""
    self._since = set()
    return dict(self._own)

  def rewind(self, mark: Any) -> None:
    self._own, self._since = dict(mark), set()

  def changes(self) -> dict[str, Any]:
    """Every changed field as {'table.key.field': new value}.

    Nested records are walked, lists are compared whole; a field that is gone
    has the value None.
    """
    found = {}
    for (table, key), own in self._own.items():
      compare(self._base[table].get(key, {}), own, f'{table}.{key}', found)
    return dict(sorted(found.items()))


def compare(old: Any, new: Any, path: str, found: dict[str, Any]) -> None:
  """Adds every field below `path` that differs; see `State.changes`."""
  if isinstance(old, Mapping) and isinstance(new, Mapping):
    for name in {**old, **new}:
      compare(old.get(name, _GONE), new.get(name), f'{path}.{name}', found)
  elif type(old) is not type(new) or old != new:
    found[path] = new
