"""TaskValidation: the task of an intent, if its exchange can be carried out."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import random
import re

from agentrl import types
from agentrl.eigendata import rejection
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.check import mutants
from agentrl.eigendata.write import script
from agentrl.envs import domain
from agentrl.envs import replay

# Kinds of rejections for instructions that the user could not follow.
CONTRADICTION, MISSING_DEMAND = 'contradiction', 'missing demand'
WRONG_ENTITY, MISSING_DETAIL = 'wrong entity', 'missing detail'
DETAIL_KINDS = (CONTRADICTION, MISSING_DEMAND, WRONG_ENTITY, MISSING_DETAIL)


def validate_task(source: source_lib.TaskSource, draw: source_lib.Draw,
                  intent: source_lib.Intent, *, name: str, seed: int
                  ) -> types.Task:
  """Returns the task of an intent, with its gold run and without a checker.

  Args:
    source: source of the demands.
    draw: draw that the intent was written for.
    intent: instructions and exchange.
    name: id of the task.
    seed: seed of the wording of the gold run.

  Raises:
    SampleRejected: a demand stands there twice, a detail is missing from the
      scenario, a call is refused, or the user would have to make things up.
  """
  env, demands = source.env, intent.demands
  if len({(d.family, d.about, d.answers) for d in demands}) < len(demands):
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, CONTRADICTION, intent.scenario)
  for demand in demands:
    _check_details(env, demand, intent.scenario)
  task = types.Task(
      name, env.name, intent.scenario, initial_state=dict(draw.start) or None,
      kind=script.task_kind(demands), families=tuple(d.family for d in demands))
  moves = replay.render(intent.script, random.Random(seed))
  try:
    _, end = replay.enact(env, task, moves)
  except replay.Unplayable as e:
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, 'gold fails', str(e)) from e
  if fault := env.user_fault(task, end.messages):
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, 'ungrounded', fault.text)
  writes = mutants.writes(env, task, moves)
  agreed = _agreed(intent.script, writes) if source.way_known else ()
  return dataclasses.replace(
      task, criteria=_criteria(env, demands, moves, writes),
      split=draw.plan.split, brief=intent.brief,
      gold=types.GoldRun(tuple(moves), tuple(writes), tuple(agreed)),
      demands=tuple(_record(d, [
          k for k in writes if moves[k].role == 'assistant'
          and intent.script[k].demand == i]) for i, d in enumerate(demands)),
      meta={'plan': {'id': draw.plan.id, 'style': draw.plan.style}})


def _check_details(env: source_lib.WritableEnv, demand: domain.Demand,
                   scenario: str) -> None:
  """Rejects a demand that the user could not put right from the scenario."""
  if demand.goal not in scenario:
    raise rejection.SampleRejected(
        types.Worker.TASK_VALIDATION, MISSING_DEMAND, demand.goal)
  missing = [w for w in (*demand.about, *demand.answers)
             if w.lower() not in demand.goal.lower()]
  if not missing:
    return
  named = re.findall(env.entity or source_lib.NO_ENTITY, demand.goal)
  said = ' '.join(words for beat in demand.beats for words in beat.say)
  wrong = [entity for entity in named if entity not in said]
  raise rejection.SampleRejected(
      types.Worker.TASK_VALIDATION, WRONG_ENTITY if wrong else MISSING_DETAIL,
      f'{", ".join(missing)}: {demand.goal}')


def _record(demand: domain.Demand, writes: Sequence[int]) -> types.TaskDemand:
  """Returns the record that a task keeps of a demand, given the places of the
  agent's writes for it."""
  calls = [b.call for b in demand.beats if b.call and b.by == 'assistant']
  last = calls[-1] if calls else ''
  return types.TaskDemand(
      demand.family, demand.goal, tell=demand.tell, kind=demand.kind,
      writes=tuple(writes), about=demand.about,
      forbidden=tuple(types.ToolCall(b.call, b.arguments)
                      for b in demand.forbidden),
      answers=tuple((word, last) for word in demand.answers))


def _agreed(script: Sequence[types.Beat], writes: Sequence[int]
            ) -> list[tuple[int, str]]:
  """Returns the places of the agent's writes, each with a value that the user
  agrees to right before, in every wording.

  Where a yes covers several writes, a later one without a value of its own was
  agreed to with them: an agent that reports the first in between need not ask
  for it again.
  """
  most = max(len(beat.say) for beat in script)
  wordings = [replay.render(
      [dataclasses.replace(b, say=b.say and (b.say[k % len(b.say)],))
       for b in script], random.Random(0)) for k in range(most)]
  pairs, covered = [], set()  # values of the writes since the last words
  for i, beat in enumerate(script):
    if beat.say:
      covered = set()
    values = list(map(str, beat.arguments.values()))
    if i not in writes or beat.by != 'assistant' or covered.issuperset(
        values):
      continue
    covered.update(values)
    pairs += [(i, value) for value in values
              if all(mutants.agreed(moves, beat.call, [value])
                     for moves in wordings)]
  return pairs


def _criteria(env: source_lib.WritableEnv, demands: Sequence[domain.Demand],
              moves: replay.Moves, writes: Sequence[int]) -> types.Criteria:
  """Returns gold actions, those that write marked by `info`, and told facts."""
  actions = tuple(
      types.Action(call.name, call.arguments, call.requestor, f'gold.{i}',
                   info='write' if i in writes else None)
      for i, move in enumerate(moves) for call in move.tool_calls)
  facts = tuple(dict.fromkeys(f for d in demands for f in d.tell))
  return types.Criteria(actions, communicate_info=facts,
                        reward_basis=env.basis)
