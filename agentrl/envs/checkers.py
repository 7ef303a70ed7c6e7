"""Runs the checker of a task: untrusted Python in a sandbox.

A checker is the text of one function

    def check(changes, events):
      return {'order teal-heron is cancelled':
                  changes.get('orders.teal-heron.status') == 'cancelled', ...}

`changes` is every field of the database that differs from the start
({'table.key.field': new value}); `events` is the dialogue as a list of
['assistant' | 'user', text] and ['call', side, name, arguments, ok]. The
functions of `PRELUDE` are defined. The reward is 1 if all clauses are true. It
runs in `pydantic-monty`, an interpreter in Rust in a worker process, without
files, network or imports of the host, in a fresh session under limits of time
and memory. Sleeping takes no time there, the clock stands still and random
numbers are seeded, so a verdict depends on the checker's inputs alone. Its
output is not shown.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
import datetime
import functools
import os
from typing import Any

import pydantic_monty

from agentrl import types

LIMITS = {'max_feed_duration_secs': 1.0, 'max_memory': 32 * 2**20}
# One operation on large numbers may not look at the clock: then the worker is
# killed this long past the limit.
GRACE_S = 0.25
# Makes sessions deterministic.
OS_POLICY = {'sleep': 'zero', 'random_start': {'seed': 0},
             'datetime': datetime.datetime(2025, 1, 1)}
MOST_TEXT = 1 << 16  # characters of a checker
MOST_PRINTED = 1 << 16  # bytes
MOST_CLAUSES = 256
MOST_CLAUSE = 200  # characters of a clause that are kept
MOST_ERROR = 300  # characters of an error that are kept

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
  """Before each call of `name` about `about` the assistant's last words had
  named it, and the user had answered them."""
  named = answered = False
  for e in events:
    if e[0] == 'assistant':
      named, answered = about.lower() in e[1].lower(), False
    elif e[0] == 'user':
      answered = named
    elif e[2] == name and e[4] and about in [str(v) for v in e[3].values()]:
      if not answered:
        return False
  return True
'''

# Only small values leave the sandbox: nested lists that share their parts would
# fill the host's memory. No function is called here, as the checker could have
# given its name another meaning.
_VERDICT = f'''
verdict = check(changes, events)
pairs = None
match verdict:
  case {{**rest}}:
    pairs = [(f'{{k}}'[:{MOST_CLAUSE}], (k == f'{{k}}') is True,
              v is True, v is False)
             for k, v in rest.items()][:{MOST_CLAUSES + 1}]
pairs or f'{{verdict!r}}'[:80]
'''


class CheckerError(RuntimeError):
  """The checker gave no verdict: it raised, hung, or returned another type."""


@functools.lru_cache(maxsize=1)
def _pool() -> tuple[pydantic_monty.Monty, int]:
  """Returns the worker processes and the id of the process that they serve."""
  pool = pydantic_monty.Monty(feed_duration_limit_grace=GRACE_S)
  pool.__enter__()
  atexit.register(pool.__exit__, None, None, None)
  return pool, os.getpid()


def events(messages: Sequence[types.Message]) -> list[list[Any]]:
  """Returns the dialogue as checkers see it."""
  refused = {m.id for m in messages if m.role == 'tool' and m.error}
  seen = []
  for m in messages:
    if m.role in ('assistant', 'user') and m.has_text and not m.is_call:
      seen.append([m.role, m.content])
    for call in m.tool_calls:
      seen.append(['call', call.requestor, call.name, dict(call.arguments),
                   call.id not in refused])
  return seen


def _evaluate(text: str, inputs: Mapping[str, Any]) -> Any:
  """Runs a text in a fresh session; returns the value of its last line."""
  pool, owner = _pool()
  if owner != os.getpid():
    raise RuntimeError('Checkers cannot run in a fork of a process that has '
                       'run some: start processes by spawn.')
  with pool.checkout(limits=LIMITS, os_policy=OS_POLICY) as session:
    return session.feed_run(
        text, inputs=inputs,
        print_callback=pydantic_monty.CollectString(MOST_PRINTED))


def run(code: str, changes: Mapping[str, Any],
        seen: Sequence[Any]) -> dict[str, bool]:
  """Runs a checker.

  Args:
    code: text of the checker.
    changes: changed fields, see `state.State.changes`.
    seen: the dialogue, see `events`.

  Returns:
    clause -> verdict.

  Raises:
    CheckerError: it did not return a small non-empty dict of bools in time.
    RuntimeError: this process was forked from one that has run checkers, and
      would wait for their workers forever.
  """
  if len(code) > MOST_TEXT:
    raise CheckerError(f'A checker has at most {MOST_TEXT} characters, got '
                       f'{len(code)}.')
  text = f'{PRELUDE}\n{code}\n{_VERDICT}'
  inputs = {'changes': dict(changes), 'events': list(seen)}
  try:
    try:
      result = _evaluate(text, inputs)
    except pydantic_monty.MontyCrashedError as e:
      if e.timed_out:
        raise
      result = _evaluate(text, inputs)  # the worker was killed: once more
  except pydantic_monty.MontyError as e:
    last = str(e).strip().splitlines() or ['']
    raise CheckerError(_plain(f'{type(e).__name__}: {last[-1]}')) from e
  return _clauses(result)


def _clauses(result: str | Sequence[tuple[str, bool, bool, bool]]
            ) -> dict[str, bool]:
  """Returns clause -> verdict.

  Args:
    result: value of `_VERDICT`: a text to report, or (clause, it is a text, it
      is True, it is False) of each clause.

  Raises:
    CheckerError: see `run`.
  """
  must = 'check() must return a dict of clause (str) to bool, '
  if isinstance(result, str):
    raise CheckerError(_plain(f'{must}got {result}.'))
  if len(result) > MOST_CLAUSES:
    raise CheckerError(f'{must}{MOST_CLAUSES} at most.')
  verdicts = {}
  for clause, is_text, yes, no in result:
    if not (is_text and (yes or no)):
      raise CheckerError(_plain(f'{must}and {clause!r} is not so.'))
    name = _plain(clause, MOST_CLAUSE)  # if two become equal, both must hold
    verdicts[name] = yes and verdicts.get(name, True)
  return verdicts


def _plain(text: str, most: int = MOST_ERROR) -> str:
  """Returns a text cut short and without control characters."""
  kept = text[:most]
  return kept if kept.isprintable() else ''.join(
      c if c.isprintable() else '?' for c in kept)


def score(code: str, changes: Mapping[str, Any],
          messages: Sequence[types.Message]) -> types.Score:
  """Returns the verdict of a checker; an error is reported, not a zero."""
  try:
    clauses = run(code, changes, events(messages))
  except CheckerError as e:
    return types.Score(0.0, error=str(e))
  return types.Score(float(all(clauses.values())), clauses=clauses)
