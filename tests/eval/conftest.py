"""A desk with a lamp: agent and user both have a hand in its state."""

from __future__ import annotations

import hashlib
from typing import Literal

import pytest

from agentrl import types
from agentrl.envs import checkers
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools

TABLES = {'desk': {'lamp': {'level': 1, 'plugged': False, 'reason': ''}}}


def set_level(state: state_lib.State, level: int) -> str:
  """Sets the level."""
  if level > 9:
    raise tools.ToolError('too bright')
  state.edit('desk', 'lamp')['level'] = level
  return f'level {level}'


def transfer_to_human(state: state_lib.State,
                      reason: Literal['fire', 'billing']) -> str:
  """Hands over."""
  state.edit('desk', 'lamp')['reason'] = reason
  return 'transferred'


def plug(state: state_lib.State) -> str:
  """Plugs the lamp in."""
  state.edit('desk', 'lamp')['plugged'] = True
  return 'plugged'


class Desk:
  """`envs.env.Env`; the checker compares all changes with those of gold."""

  name = 'desk'

  def __init__(self):
    self._tools = {'assistant': tools.table([set_level, transfer_to_human]),
                   'user': tools.table([plug])}

  def system(self, side: types.Side, task: types.Task) -> str:
    return f'{side}: {task.scenario}'

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    return tuple(tool.schema for tool in self._tools[side].values())

  def start(self, task: types.Task) -> domain.World:
    return domain.World(state_lib.State(TABLES), self._tools)

  def score(self, task, world, messages, ended) -> types.Score:
    if ended != 'user_stop':
      return types.Score(0.0)
    return checkers.score(task.checker, world.state.changes(), messages)

  def fault(self, task, messages) -> str:
    return ''

  def fingerprint(self) -> str:
    return hashlib.sha256(b'desk').hexdigest()[:16]


def _task(name: str, changes: dict, *actions: types.Action, fact: str = '',
          kind: str = 'do') -> types.Task:
  want = {f'desk.lamp.{k}': v for k, v in changes.items()}
  checker = (f'def check(changes, events):\n  return {{"state": changes == '
             f'{want!r}, "told": said(events, {fact!r})}}')
  return types.Task(
      name, 'desk', f'About {name}.', checker=checker, kind=kind,
      families=(name,), criteria=types.Criteria(
          actions, communicate_info=(fact,) if fact else ()))


@pytest.fixture
def desk() -> Desk:
  return Desk()


@pytest.fixture
def tasks() -> list[types.Task]:
  level = lambda n: types.Action('set_level', {'level': n})
  plugged = types.Action('plug', {}, requestor='user')
  leave = types.Action('transfer_to_human', {'reason': 'billing'})
  return [
      _task('dim', {'level': 3}, level(5), level(3), fact='level 3'),
      _task('both', {'level': 4, 'plugged': True}, plugged, level(2), plugged,
            level(4)),
      _task('pay', {'reason': 'billing'}, leave, kind='transfer'),
      _task('no', {}, kind='refuse'),
      _task('deny', {}, fact='sorry', kind='refuse'),
  ]
