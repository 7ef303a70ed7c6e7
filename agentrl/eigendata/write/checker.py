"""ValidationFunction: has the checker of a task written, or mended."""

from __future__ import annotations

import collections
from collections.abc import Mapping
import dataclasses
from typing import Any

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.check import mutants
from agentrl.envs import replay


def write_checker(writer: prompts.Writer, source: source_lib.TaskSource,
                  task: types.Task, intent: source_lib.Intent, *,
                  critique: str, seed: int) -> types.Task:
  """Returns the task with a checker, or with its checker mended.

  Args:
    writer: LLM that writes it.
    source: source of the task's demands.
    task: task from TaskValidation, or with the checker to mend.
    intent: intent that the task was made from.
    critique: mistakes of the last checker; '' for the first.
    seed: seed of the answer.
  """
  payload = _payload(source, task, intent, critique)
  return dataclasses.replace(
      task, checker=writer.write('checker', payload, seed)['code'])


def _payload(source: source_lib.TaskSource, task: types.Task,
             intent: source_lib.Intent, critique: str) -> Mapping[str, Any]:
  """Returns the conditions that a checker must test, from the gold run."""
  moves = task.gold.moves
  world, _ = replay.replay(source.env, task, moves)
  # Calls whose order, question and number the policy asks for.
  ordered = [c for c in (moves[i].tool_calls[0] for i in task.gold.writes)
             if c.requestor == 'assistant' and source.way_known]
  place = mutants.first_call(moves)
  first = '' if place is None else moves[place].tool_calls[0].name
  return {
      'changes': world.state.changes(), 'tell': task.criteria.communicate_info,
      'before': sorted({(first, c.name) for c in ordered if c.name != first}),
      'confirmed': sorted({(moves[i].tool_calls[0].name, value)
                           for i, value in task.gold.agreed}),
      'times': _times(source, task, [c.name for c in ordered]),
      'words': [b.say[0] for b in intent.script
                if b.by == 'assistant' and b.say],
      'code': task.checker, 'critique': critique}


def _times(source: source_lib.TaskSource, task: types.Task,
           ordered: list[str]) -> dict[str, int]:
  """Returns tool -> number of its calls, where that number matters.

  A forbidden call is made no time, also where another one undoes it. Where the
  way is not known, a tool that is right elsewhere may be used any number of
  times.
  """
  free = set() if source.way_known else {
      c.name for m in task.gold.moves for c in m.tool_calls}
  times = collections.Counter({c.name: 0 for d in task.demands
                               for c in d.forbidden if c.name not in free})
  times.update(ordered)
  return dict(sorted(times.items()))
