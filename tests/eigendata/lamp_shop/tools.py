"""The agent dims lamps, their owners plug them in."""

from typing import Literal

from agentrl.envs import tools


def find_person(state, name: str) -> str:
  """Looks up who calls."""
  if state.get('people', name) is None:
    raise tools.ToolError(f'no {name}')
  mine = [k for k, lamp in state.rows('lamps') if lamp['owner'] == name]
  return f'{name}: {", ".join(mine)}'


def show_lamp(state, lamp: str) -> str:
  """Shows a lamp."""
  found = state.get('lamps', lamp)
  return f'{lamp}: level {found["level"]}, broken {found["broken"]}'


def set_level(state, lamp: str, level: int) -> str:
  """Sets the level."""
  found = state.get('lamps', lamp)
  if found is None or found['broken'] or not 0 <= level <= 9:
    raise tools.ToolError('cannot')
  if found['level'] == level:
    raise tools.ToolError('it is so already')
  state.edit('lamps', lamp)['level'] = level
  return f'{lamp}: level {level}'


def transfer_to_human(state, reason: Literal['fire', 'sale']) -> str:
  """Hands over."""
  state.edit('desk', 'call')['reason'] = reason
  return 'transferred'


def plug(state, lamp: str) -> str:
  """Plugs a lamp in."""
  state.edit('lamps', lamp)['plugged'] = True
  return f'{lamp} plugged'


AGENT = (find_person, show_lamp, set_level, transfer_to_human)
USER = (plug,)
