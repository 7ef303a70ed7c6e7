"""One scripted exchange out of the exchanges of a task's demands."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import domain

GOODBYE = {
    dialogue.STOP: (
        'Thanks, bye! ###STOP###', 'That is all, thank you. ###STOP###',
        'Great, goodbye. ###STOP###', 'That was it. ###STOP###'),
    dialogue.TRANSFER: (
        'Okay, I will wait. ###TRANSFER###', '###TRANSFER###',
        'Thank you. ###TRANSFER###')}


def task_kind(demands: Sequence[domain.Demand]) -> types.Kind:
  """Returns `do` if every demand is, else the kind of the last that is not."""
  others = [d.kind for d in demands if d.kind != 'do']
  return others[-1] if others else 'do'


def joined(opening: Sequence[types.Beat], demands: Sequence[domain.Demand]
           ) -> tuple[types.Beat, ...]:
  """Joins the exchanges of demands into one.

  Args:
    opening: moves that tell who the user is; they follow the user's first
      words.
    demands: demands, in order.

  Returns:
    the moves, with a goodbye at the end.
  """
  beats = []
  for i, demand in enumerate(demands):
    first, *rest = demand.beats
    beats.append(dataclasses.replace(first, demand=i, opens=i > 0))
    if i == 0:
      beats += [dataclasses.replace(b, opening=True) for b in opening]
    beats += [dataclasses.replace(b, demand=i) for b in rest]
  over = demands[-1].kind == 'transfer'
  bye = domain.says('user', *GOODBYE[
      dialogue.TRANSFER if over else dialogue.STOP])
  return (*beats, dataclasses.replace(bye, demand=len(demands) - 1))
