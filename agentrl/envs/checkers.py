"""Per-instance checkers: untrusted Python, run in a sandbox, judged by clause.

A checker is the text of one function

    def check(changes, events):
      return {'order teal-heron is cancelled':
                  changes.get('orders.teal-heron.status') == 'cancelled', ...}

`changes` is every field of the database that differs from the start
({'table.key.field': new value}); `events` is the dialogue as a list of
['assistant' | 'user', text] and ['call', side, name, arguments, ok]. The
functions of `PRELUDE` are at hand. All clauses true is reward 1. It runs in
`pydantic-monty`, an interpreter in Rust in a worker process, without files,
network or imports of the host, under limits of time and memory.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
import functools
from typing import Any

import pydantic_monty

from agentrl import types

LIMITS = {'max_feed_duration_secs': 1.0, 'max_memory': 32 * 2**20}

PRELUDE = '''
def said(events, fact):
  """The assistant told the user this (lower-case substring)."""
  return any(e[0] == 'assistant' and fact in e[1].lower() for e in events)

def called(events, name):
  """The call was made, and it was not refused."""
  return any(e[0] == 'call' and e[2] == name and e[4] for e in events)

def before(events, first, then):
  """A call of `first` succeeded before any call of `then`."""
  for e in events:
    if e[0] == 'call' and e[2] == then and e[4]:
      return False
    if e[0] == 'call' and e[2] == first and e[4]:
      return True
  return True

def confirmed(events, name, about):
  """Each call of `name` about `about` came after the assistant had named it
  to the user and the user had answered."""
  named = answered = False
  for e in events:
    if e[0] == 'assistant':
      named = named or about.lower() in e[1].lower()
    elif e[0] == 'user':
      answered = named
    elif e[2] == name and e[4] and about in [str(v) for v in e[3].values()]:
      if not answered:
        return False
  return True
'''


class CheckerError(RuntimeError):
  """The checker gave no verdict: it raised, hung, or answered nonsense."""


@functools.lru_cache(maxsize=1)
def _pool() -> pydantic_monty.Monty:
  pool = pydantic_monty.Monty()
  pool.__enter__()
  atexit.register(pool.__exit__, None, None, None)
  return pool


def events(messages: Sequence[types.Message]) -> list[list[Any]]:
  """The dialogue as checkers see it."""
  found, refused = [], {m.id for m in messages if m.role == 'tool' and m.error}
  for m in messages:
    if m.role in ('assistant', 'user') and m.has_text and not m.is_call:
      found.append([m.role, m.content])
    for call in m.tool_calls:
      found.append(['call', call.requestor, call.name, dict(call.arguments),
                    call.id not in refused])
  return found


def run(code: str, changes: Mapping[str, Any],
        seen: Sequence[Any]) -> dict[str, bool]:
  """Clause -> verdict.

  Raises:
    CheckerError: it did not answer with a non-empty dict of bools in time.
  """
  text = f'{PRELUDE}\n{code}\ncheck(changes, events)'
  try:
    with _pool().checkout(limits=LIMITS) as session:
      result = session.feed_run(
          text, inputs={'changes': dict(changes), 'events': list(seen)})
  except pydantic_monty.MontyError as e:
    last = str(e).strip().splitlines() or ['']
    raise CheckerError(f'{type(e).__name__}: {last[-1]}') from e
  sound = isinstance(result, dict) and result and all(
      isinstance(k, str) and isinstance(v, bool) for k, v in result.items())
  if not sound:
    raise CheckerError('check() must return a dict of clause (str) to bool, '
                       f'got {str(result)[:80]!r}.')
  return result


def score(code: str, changes: Mapping[str, Any],
          messages: Sequence[types.Message]) -> types.Score:
  """The verdict of a checker; an error in it is reported, not a zero."""
  try:
    clauses = run(code, changes, events(messages))
  except CheckerError as e:
    return types.Score(0.0, error=str(e))
  return types.Score(float(all(clauses.values())), clauses=clauses)
