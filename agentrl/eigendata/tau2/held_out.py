"""What new tasks of airline and retail keep away from.

Customers of the tasks that models are judged on, and whatever asks for the
same as a task of the benchmark.
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
from agentrl.eigendata.tau2 import certify as tau2_tasks_certify
from agentrl.envs.tau2 import env as tau2


def clash(env: tau2.Tau2, task: types.Task, judged_on: str = 'test') -> str:
  """Why a task must not stand beside those of the benchmark; '' if it may."""
  taken, users = _taken(env), users_in(env, task)
  if users & held(env, judged_on):
    return f'a customer of a {judged_on} task'
  writes, targets = _writes(env, task)
  if writes and writes in taken.writes:
    return 'the writes of a task of the benchmark'
  if any((user, targets) in taken.targets for user in users):
    return 'customer and targets of a task of the benchmark'
  return ''


def customers(env: tau2.Tau2, judged_on: str = 'test') -> list[str]:
  """Those whom tasks may be about, in a fixed order."""
  everyone = set(tau2_tasks_certify.tables(env)['users'])
  return sorted(everyone - held(env, judged_on))


@functools.lru_cache(maxsize=4)
def held(env: tau2.Tau2, judged_on: str) -> frozenset[str]:
  """Customers in tasks of a split. A model trained on other tasks of theirs
  would know their orders and cards by heart in the very dialogues that are to
  show how it does with strangers."""
  return frozenset(u for t in env.tasks(judged_on) for u in users_in(env, t))


@dataclasses.dataclass(frozen=True)
class _Taken:
  """What the benchmark's tasks are about.

  Attributes:
    writes: the gold writes of each task.
    targets: each customer in a task, with names and targets of its writes.
  """

  writes: frozenset[frozenset[str]]
  targets: frozenset[tuple[str, frozenset[str]]]


@functools.lru_cache(maxsize=4)
def _taken(env: tau2.Tau2) -> _Taken:
  found = [(users_in(env, t), *_writes(env, t)) for t in env.tasks('base')]
  return _Taken(
      frozenset(writes for _, writes, _ in found if writes),
      frozenset((u, aims) for users, _, aims in found for u in users))


def users_in(env: tau2.Tau2, task: types.Task) -> set[str]:
  """Customers whose name or anything of whose occurs in a task.

  A name that several customers have stands for each of them.
  """
  leaves = _leaves([a.arguments for a in task.criteria.actions])
  return owners_in(env, ' '.join([task.scenario, *map(str, leaves)]))


def owners_in(env: tau2.Tau2, text: str) -> set[str]:
  """Customers whose name or anything of whose occurs in a text."""
  words = [w.strip('.') for w in re.findall(r'[#\w.@]+', text.lower())]
  pairs = map(' '.join, itertools.pairwise(words))
  owners = _owners(env)
  return {u for w in {*words, *pairs} for u in owners.get(w, ())}


@functools.lru_cache(maxsize=4)
def _owners(env: tau2.Tau2) -> Mapping[str, set[str]]:
  """The customers that a name, an address or an id belongs to."""
  found: dict[str, set[str]] = {}
  for table in tau2_tasks_certify.tables(env).values():
    for key, record in table.items():
      user, name = record.get('user_id'), record.get('name')
      words = [key, record.get('email'), *record.get('payment_methods', ()),
               isinstance(name, dict) and ' '.join(name.values())]
      for word in filter(None, words if user else ()):
        found.setdefault(word.lower(), set()).add(user)
  return found


def _leaves(value: Any) -> Iterator[Any]:
  if isinstance(value, (Mapping, list, tuple)):
    for v in value.values() if isinstance(value, Mapping) else value:
      yield from _leaves(v)
  else:
    yield value


def _writes(env: tau2.Tau2, task: types.Task
            ) -> tuple[frozenset[str], frozenset[str]]:
  """The gold writes, and their names with what they are about alone."""
  whole, aims = set(), set()
  for a in task.criteria.actions:
    if a.name in tau2_tasks_certify.write_names(env):
      ids = [a.arguments[k] for k in ('reservation_id', 'order_id', 'user_id')
             if k in a.arguments]
      whole.add(jsons.dumps([a.name, a.arguments]))
      aims.add(f'{a.name} {ids[0]}')
  return frozenset(whole), frozenset(aims)
