"""Difficulty, as one model has it: whether a student solves a task.

The student (`config.llm_roles.Student`) plays the agent by the domain's own
prompt, as it would in training or evaluation; the user has the script. No
critique of its mistakes is ever shown to it.
"""

from __future__ import annotations

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.write import dialogues
from agentrl.envs import env as env_lib
from agentrl.envs import outcomes
from agentrl.envs import reward
from agentrl.llm import llm as llm_lib


def solves(user: prompts.Writer, env: source_lib.WritableEnv, task: types.Task,
           intent: source_lib.Intent, draw: source_lib.Draw, *, seed: int
           ) -> bool | None:
  """Returns whether the checker of a task passes the student's dialogue.

  Args:
    user: LLM that plays the user, and knows the student.
    env: domain of the task.
    task: task, with its checker.
    intent: intent that the task was made from.
    draw: draw that the intent was written for.
    seed: seed of both sides.

  Returns:
    None if that cannot be told, as `envs/outcomes.py` has it for the baseline:
    the user was at fault, or a tool or the checker broke.

  Raises:
    llm.OverBudget, llm.Unavailable: as for any other call.
  """
  def speak(side: types.Side, seen: list[types.Message]) -> types.Message:
    if side == 'user':
      return user.speak(seen, dialogues.tools(user, env, task, side), seed)
    reply = user.llm.complete(seen, stage=types.Worker.STUDENT,
                              tools=system[side].tools, seed=seed)
    if reply.problem or reply.end != 'stop':
      raise llm_lib.BadAnswer(reply.problem, stage=types.Worker.STUDENT)
    return reply.message
  try:
    system = dialogues.system_prompts(user, env, task, intent, draw)
    system['assistant'] = env.prompt('assistant', task)
    world, end = dialogues.play(env, task, system, speak)
  except llm_lib.BadAnswer as e:
    return False if e.stage == types.Worker.STUDENT else None
  except dialogues.Circling as e:
    return False if e.side == 'assistant' else None
  except env_lib.ToolBroken:
    return None
  outcome, _, _ = reward.judge(env, task, world, end)
  if not outcomes.RULES[outcome].baseline:
    return None
  return outcome == types.Outcome.SUCCESS
