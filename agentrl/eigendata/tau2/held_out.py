"""Keeps new tasks of airline and retail away from the benchmark's tasks.

A new task must not be about a customer of a task that models are judged on, nor
ask for the same as any task of the benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import functools
import itertools
import re
from typing import Any

from agentrl import jsons
from agentrl import types
from agentrl.eigendata.tau2 import database
from agentrl.envs.tau2 import env as tau2_env


def clash(env: tau2_env.Tau2, task: types.Task, judged_on: str = 'test') -> str:
  """Returns why a task must not stand beside those of the benchmark, or ''."""
  taken, users = _taken(env), users_in(env, task)
  if users & customers_of(env, judged_on):
    return f'a customer of a {judged_on} task'
  writes, targets = _writes(env, task)
  if writes and writes in taken.writes:
    return 'the writes of a task of the benchmark'
  if any((user, targets) in taken.targets for user in users):
    return 'customer and targets of a task of the benchmark'
  return ''


def customers(env: tau2_env.Tau2, judged_on: str = 'test') -> list[str]:
  """Returns the customers that tasks may be about, in a fixed order."""
  everyone = set(database.tables(env)['users'])
  return sorted(everyone - customers_of(env, judged_on))


@functools.lru_cache(maxsize=4)
def customers_of(env: tau2_env.Tau2, split: str) -> frozenset[str]:
  """Returns the customers in tasks of a split.

  A model trained on other tasks of these customers would know their orders and
  cards by heart in the dialogues that shall show how it serves strangers.
  """
  return frozenset(u for t in env.tasks(split) for u in users_in(env, t))


@dataclasses.dataclass(frozen=True)
class _Taken:
  """Describes the benchmark's tasks.

  Attributes:
    writes: the gold writes of each task.
    targets: each customer in a task, with names and targets of its writes.
  """

  writes: frozenset[frozenset[str]]
  targets: frozenset[tuple[str, frozenset[str]]]


@functools.lru_cache(maxsize=4)
def _taken(env: tau2_env.Tau2) -> _Taken:
  tasks = [(users_in(env, t), *_writes(env, t)) for t in env.tasks('base')]
  return _Taken(
      frozenset(writes for _, writes, _ in tasks if writes),
      frozenset((u, aims) for users, _, aims in tasks for u in users))


def users_in(env: tau2_env.Tau2, task: types.Task) -> set[str]:
  """Returns the customers that a task names or that own an id in it.

  A name that several customers have counts for each of them.
  """
  leaves = _leaves([a.arguments for a in task.criteria.actions])
  return owners_in(env, ' '.join([task.scenario, *map(str, leaves)]))


def owners_in(env: tau2_env.Tau2, text: str) -> set[str]:
  """Returns the customers that a text names or that own an id in it."""
  words = [w.strip('.') for w in re.findall(r'[#\w.@]+', text.lower())]
  pairs = map(' '.join, itertools.pairwise(words))
  owners = _owners(env)
  return {u for w in {*words, *pairs} for u in owners.get(w, ())}


@functools.lru_cache(maxsize=4)
def _owners(env: tau2_env.Tau2) -> Mapping[str, set[str]]:
  """Returns name, address or id -> the customers that it belongs to."""
  owners: dict[str, set[str]] = {}
  for table in database.tables(env).values():
    for key, record in table.items():
      user, name = record.get('user_id'), record.get('name')
      words = [key, record.get('email'), *record.get('payment_methods', ()),
               isinstance(name, dict) and ' '.join(name.values())]
      for word in filter(None, words if user else ()):
        owners.setdefault(word.lower(), set()).add(user)
  return owners


def _leaves(value: Any) -> Iterator[Any]:
  if isinstance(value, (Mapping, list, tuple)):
    for v in value.values() if isinstance(value, Mapping) else value:
      yield from _leaves(v)
  else:
    yield value


def _writes(env: tau2_env.Tau2, task: types.Task
            ) -> tuple[frozenset[str], frozenset[str]]:
  """Returns the gold writes in full, and their names with their targets."""
  whole, aims = set(), set()
  for a in task.criteria.actions:
    if a.name in database.write_names(env):
      ids = [a.arguments[k] for k in ('reservation_id', 'order_id', 'user_id')
             if k in a.arguments]
      whole.add(jsons.dumps([a.name, a.arguments]))
      aims.add(f'{a.name} {ids[0]}')
  return frozenset(whole), frozenset(aims)
