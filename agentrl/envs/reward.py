"""Turns the end of a dialogue and its score into a typed outcome."""

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib

O = types.Outcome


def judge(env: env_lib.Env, task: types.Task, world: env_lib.World,
          end: dialogue.End) -> tuple[types.Outcome, types.Score, str]:
  """Scores a dialogue; returns outcome, score and a note, see `settle`."""
  return settle(env, task, end, env.score(task, world, end.messages,
                                          end.reason))


def settle(env: env_lib.Env, task: types.Task, end: dialogue.End,
           score: types.Score) -> tuple[types.Outcome, types.Score, str]:
  """Returns the outcome of a score, the score, and a note for people.

  A broken checker gives CHECKER_ERROR, never a zero. A failure is USER_FAULT if
  the state shows that the user misled the agent.

  Args:
    env: finds faults of the user.
    task: the task that was played.
    end: end of its dialogue.
    score: verdict on it.
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
