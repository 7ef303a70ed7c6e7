"""Difficulty, as one model has it: whether a student solves a task.

The student (`config.llm_roles.Student`) is the agent of the dialogue by the
domain's own prompt, as it would be in training or evaluation; who plays the
user has the script. Its mistakes are its own: nothing that it says is sent
back to it.
"""

from __future__ import annotations

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata.write import dialogues as talks
from agentrl.eigendata.write import workers
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import outcomes
from agentrl.envs import reward
from agentrl.llm import llm as llm_lib


def solves(user: prompts.Author, env: domain.Domain, task: types.Task,
           intent: workers.Intent, seeds: workers.Seeds, *, seed: int
           ) -> bool | None:
  """Whether the checker of a task passes what the student does.

  Args:
    user: who plays the user; its LLM also knows the student.
    env: of the task.
    task: with its checker.
    intent: what the task was made from.
    seeds: what the intent was made from.
    seed: of both sides.

  Returns:
    None if nobody can tell, as `envs/outcomes.py` has it for the baseline: the
    user was at fault, a tool or the checker broke.

  Raises:
    llm.OverBudget, llm.Unavailable: as for any other call.
  """
  def say(side: types.Side, messages: list[types.Message]) -> types.Message:
    student = side == 'assistant'
    user.llm.stage = 'Student' if student else 'DialogSynthesis'
    tools = (prompt[side].tools if student
             else talks.tools(user, env, task, side))
    reply = user.llm.complete(messages, tools=tools, seed=seed)
    if student and (reply.problem or reply.end != 'stop'):
      raise llm_lib.BadAnswer(reply.problem)
    return reply.message
  try:
    prompt = talks.instructed(user, env, task, intent, seeds)
    prompt['assistant'] = env.prompt('assistant', task)
    world, end = talks.talk(env, task, prompt, say)
  # Of the student, unless it was the user's turn.
  except (llm_lib.BadAnswer, rejection.SampleRejected):
    return False if user.llm.stage == 'Student' else None
  except env_lib.ToolBroken:
    return None
  outcome, _, _ = reward.judge(env, task, world, end)
  if not outcomes.RULES[outcome].baseline:
    return None
  return outcome == types.Outcome.SUCCESS
