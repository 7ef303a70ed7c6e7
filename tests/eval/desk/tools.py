"""Agent and user both have a hand in the state of the lamp."""

from typing import Literal


def set_level(state, level: int) -> str:
  """Sets the level."""
  state.edit('desk', 'lamp')['level'] = level
  return f'level {level}'


def transfer_to_human(state, reason: Literal['fire', 'billing']) -> str:
  """Hands over."""
  state.edit('desk', 'lamp')['reason'] = reason
  return 'transferred'


def plug(state) -> str:
  """Plugs the lamp in."""
  state.edit('desk', 'lamp')['plugged'] = True
  return 'plugged'


AGENT = (set_level, transfer_to_human)
USER = (plug,)
