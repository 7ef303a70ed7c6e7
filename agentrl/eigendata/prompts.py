"""The prompts of the workers: an instruction, and one line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
from typing import Any

from agentrl import types

INSTRUCTIONS = {
    'intent': (
        'Write the scenario of a simulated customer: who they are, how they '
        'talk, and what they want, as numbered demands with every detail they '
        'may be asked for, so that exactly one outcome is right. Use only '
        'what the drafts below contain. Answer with the scenario and the '
        'demands.'),
    'user': (
        'Play the customer. Ask for one thing at a time, in your own words and '
        'in the style given; answer what you are asked; invent nothing. The '
        'script below is how the talk may go. End with ###STOP###, or with '
        '###TRANSFER### once you are handed over to a human.'),
    'agent': (
        'Play the assistant by the policy of this domain. The script below is '
        'how a good assistant handles this very customer: word it freely, keep '
        'to its calls.'),
    'checker': (
        'Write a Python function check(changes, events) that returns a dict '
        'from a clause in words to a bool; all are true only if the task was '
        'solved. `changes` is {table.key.field: new value} of the final state '
        'against the first; `events` lists [side, text] and [call, side, name, '
        'arguments, ok]. At hand are said(events, fact), called(events, name), '
        'before(events, first, then) and confirmed(events, name, about). Below '
        'is what a right run changes, tells and keeps to; if there is a '
        'critique, mend what it names.'),
    'judge': (
        'Judge the dialogue below by the rubric. Say whether it succeeds; if '
        'not, or if the checker disagrees, whether the fault lies with the '
        'trajectory or with the task and its checker; and why.'),
}
SCHEMAS: dict[str, dict[str, Any]] = {
    'intent': {'type': 'object', 'required': ['scenario', 'demands'],
               'properties': {'scenario': {'type': 'string'},
                              'demands': {'type': 'array'}}},
    'checker': {'type': 'object', 'required': ['code'],
                'properties': {'code': {'type': 'string'}}},
    'judge': {'type': 'object', 'required': ['success', 'fault', 'critique'],
              'properties': {
                  'success': {'type': 'boolean'},
                  'fault': {'enum': ['none', 'task', 'trajectory']},
                  'critique': {'type': 'string'}}},
}


def system(role: str, payload: Mapping[str, Any]) -> types.Message:
  """The system prompt of a worker for one job."""
  line = json.dumps({'role': role, **payload}, ensure_ascii=False)
  return types.Message('system', f'{INSTRUCTIONS[role]}\n{line}')


def version() -> str:
  """Hash of every instruction and schema: what was written with it."""
  text = json.dumps([INSTRUCTIONS, SCHEMAS], sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]
