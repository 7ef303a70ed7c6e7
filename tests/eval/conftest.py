"""A domain of one lamp, `desk/`, and five tasks in it."""

import pathlib

import pytest

from agentrl import types
from agentrl.envs import load as env_load


@pytest.fixture
def desk(monkeypatch) -> env_load.ManyEnvs:
  monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)
  return env_load.load_many(['desk'])


def _task(name, changes, *actions, fact='', kind='do') -> types.Task:
  want = {f'desk.lamp.{k}': v for k, v in changes.items()}
  checker = (f'def check(changes, events):\n  return {{"state": changes == '
             f'{want!r}, "told": said(events, {fact!r})}}')
  return types.Task(
      name, 'desk', f'About {name}.', checker=checker, kind=kind,
      initial_state={'seed': 0, 'split': 'test'}, families=(name,),
      criteria=types.Criteria(
          actions, communicate_info=(fact,) if fact else ()))


@pytest.fixture
def tasks() -> list[types.Task]:
  level = lambda n: types.Action('set_level', {'level': n})
  plug = types.Action('plug', {}, requestor='user')
  leave = types.Action('transfer_to_human', {'reason': 'billing'})
  return [
      _task('dim', {'level': 3}, level(5), level(3), fact='level 3'),
      _task('both', {'level': 4, 'plugged': True}, plug, level(2), plug,
            level(4)),
      _task('pay', {'reason': 'billing'}, leave, kind='transfer'),
      _task('no', {}, kind='refuse'),
      _task('deny', {}, fact='sorry', kind='refuse'),
  ]
