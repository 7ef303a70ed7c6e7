"""TrajectoryValidation: the verdict on a dialogue, by the checker, the user's
faults and an LLM judge.

The checker decides; the judge can only object. Where they disagree one of them
is wrong, and the dialogue is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import enum
from typing import Any

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.plan import planner
from agentrl.envs import dialogue
from agentrl.envs import reward


class Objection(enum.StrEnum):
  """Why a dialogue is not kept."""

  USER_FAULT = 'user fault'
  CHECKER_ERROR = 'checker error'
  JUDGE_OBJECTS = 'judge objects'
  CHECKER_DISAGREES = 'checker disagrees with judge'
  AGENT_FAILS = 'agent fails'


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
  """Verdict on a dialogue.

  Attributes:
    objection: why it is not kept; None if it is.
    fault: `none`, `task` or `trajectory`: the part that has to be mended.
    critique: description of the mistake for the part that mends it.
    user_fault: kind of the user's fault, where one was found.
  """

  objection: Objection | None
  fault: str
  critique: str
  user_fault: str = ''


def validate(writer: prompts.Writer, env: source_lib.WritableEnv,
             task: types.Task,
             played: tuple[source_lib.WritableWorld, dialogue.End], *,
             plan: planner.Plan, seed: int) -> Verdict:
  """Returns whether a dialogue is kept, and if not, why and what is at fault.

  Args:
    writer: LLM that judges.
    env: domain of the task.
    task: task, with its checker.
    played: the world that the dialogue left behind, and its end.
    plan: plan with the rubric.
    seed: seed of the judge.
  """
  world, end = played
  if fault := env.user_fault(task, end.messages):
    return Verdict(Objection.USER_FAULT, 'trajectory', fault.text, fault.kind)
  outcome, score, note = reward.judge(env, task, world, end)
  if outcome == types.Outcome.CHECKER_ERROR:
    return Verdict(Objection.CHECKER_ERROR, 'task', note)
  # Last, for it costs something.
  payload = _payload(env, task, end.messages, score.clauses, plan)
  opinion = writer.write('judge', payload, seed)
  if outcome == types.Outcome.SUCCESS:
    if opinion['success']:
      return Verdict(None, 'none', opinion['critique'])
    return Verdict(Objection.JUDGE_OBJECTS, 'trajectory', opinion['critique'])
  critique = '; '.join(filter(None, dict.fromkeys((note, opinion['critique']))))
  if opinion['fault'] == 'task':
    return Verdict(Objection.CHECKER_DISAGREES, 'task', critique)
  return Verdict(Objection.AGENT_FAILS, 'trajectory', critique)


def _payload(env: source_lib.WritableEnv, task: types.Task,
             messages: Sequence[types.Message], clauses: Mapping[str, bool],
             plan: planner.Plan) -> dict[str, Any]:
  """Returns everything that the judge goes by."""
  return {
      'rubric': plan.rubric, 'failures': plan.failures, 'policy': env.policy,
      'scenario': task.scenario, 'transcript': transcript(messages),
      'entity': env.entity or source_lib.NO_ENTITY,
      'tell': task.criteria.communicate_info,
      'writes': [[a.requestor, a.name, dict(a.arguments)]
                 for a in task.criteria.actions if a.info == 'write'],
      'clauses': dict(clauses)}


def transcript(messages: Sequence[types.Message]) -> list[list[Any]]:
  """Returns the dialogue with the results of its calls.

  Returns:
    ['assistant' | 'user', text], ['call', side, name, arguments] and
    ['result', side, text, ok].
  """
  events = []
  for m in messages:
    if m.role == 'tool':
      events.append(['result', m.requestor, m.content, not m.error])
    elif m.is_call:
      events += [['call', m.role, c.name, dict(c.arguments)]
                for c in m.tool_calls]
    else:
      events.append([m.role, m.content])
  return events
