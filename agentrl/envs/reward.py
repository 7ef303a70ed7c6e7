"""From how a dialogue ended to a typed outcome."""

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib

O = types.Outcome


def judge(env: env_lib.Env, task: types.Task, world: env_lib.World,
          end: dialogue.End) -> tuple[types.Outcome, types.Score, str]:
  """Outcome, score and a note for people; see `settle`."""
  return settle(env, task, end, env.score(task, world, end.messages,
                                          end.reason))


def settle(env: env_lib.Env, task: types.Task, end: dialogue.End,
           score: types.Score) -> tuple[types.Outcome, types.Score, str]:
  """What a score means: outcome, the score, and a note for people.

  A checker that breaks is CHECKER_ERROR, never a zero. A failure is looked at
  once more: if the state shows that the user misled the agent, it is the
  user's.
  """
  if score.error:
    return O.CHECKER_ERROR, score, score.error
  if score.unjudged:
    return O.UNJUDGED, score, 'It takes a judge to tell, and there is none.'
  if score.reward == 1:
    return O.SUCCESS, score, ''
  if end.reason == 'user_error':
    return O.USER_FAULT, score, 'The user sent an empty or unreadable message.'
  if fault := env.fault(task, end.messages):
    return O.USER_FAULT, score, fault
  if end.reason in ('max_steps', 'too_many_errors'):
    return O.AGENT_LIMIT, score, f'The dialogue ended by {end.reason}.'
  failed = [clause for clause, ok in score.clauses.items() if not ok]
  return O.FAILURE, score, '; '.join(failed) or f'Ended by {end.reason}.'
