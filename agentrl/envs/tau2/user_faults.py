"""Finds faults of the user in tau2-bench dialogues, only certain ones.

A fault is certain if no agent could have caused it. In all other cases the
agent is held responsible.
"""

from __future__ import annotations

from collections.abc import Sequence
import re

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib

_PHONE = re.compile(r'\b\d{3}-\d{3}-\d{4}\b')
# (switch of the phone, its harmful position, the word for it, assertions that
# fail in that position)
_SWITCHES = (
    ('Airplane Mode', 'ON', 'airplane', {
        'assert_service_status', 'assert_mobile_data_status',
        'assert_can_send_mms'}),
    ('Mobile Data', 'OFF', 'data', {
        'assert_mobile_data_status', 'assert_can_send_mms'}),
    ('Data Saver Mode', 'ON', 'saver', {'assert_internet_speed'}))


def find(task: types.Task, messages: Sequence[types.Message]) -> str:
  """Returns the user's fault in a failed dialogue; '' if there is none."""
  told = [m.content for m in messages if m.role == 'user' and m.has_text]
  said = ' '.join(m.content for m in messages
                  if m.role == 'assistant' and m.has_text)
  return (_invented(task, told, said) or _left(messages, said)
          or _broke(task, messages, said.lower()))


def _invented(task: types.Task, told: Sequence[str], said: str) -> str:
  """Finds a phone number that only the user's own words contain."""
  known = set(_PHONE.findall(f'{task.scenario} {said}'))
  new = set(_PHONE.findall(' '.join(told))) - known
  return f'The user made up {", ".join(sorted(new))}.' if new else ''


def _left(messages: Sequence[types.Message], said: str) -> str:
  """Finds a goodbye that the agent cannot have caused."""
  last = messages[-1]
  if last.role != 'user' or not dialogue.is_stop(last):
    return ''
  if sum(m.role == 'assistant' for m in messages) <= 1:
    return 'The user stopped before the agent could say a word.'
  if (dialogue.TRANSFER in last.content and not env_lib.handed_over(messages)
      and not re.search('transfer|human', said, re.I)):
    return 'The user claimed to be handed over; nobody had said so.'
  return ''


def _broke(task: types.Task, messages: Sequence[types.Message],
           said: str) -> str:
  """Finds a switch of the phone that the user moved without being asked."""
  asserted = {a['func_name'] for a in task.criteria.env_assertions}
  results = '\n'.join(m.content for m in messages
                      if m.role == 'tool' and m.requestor == 'user')
  for switch, harmful, word, fails in _SWITCHES:
    seen = re.findall(f'{switch} is now (ON|OFF)', results)
    # The first result is the opposite of the position before.
    if (task.kind == 'do' and asserted & fails and word not in said
        and seen and seen[0] == seen[-1] == harmful):
      return f'The user turned {switch} {harmful} unasked.'
  return ''
