"""Turns the end of a dialogue and its score into a typed outcome."""

from __future__ import annotations

from collections.abc import Sequence
import itertools
from typing import NamedTuple

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib

O = types.Outcome
STUCK = 8  # times that a text may not say a word in a row


class Verdict(NamedTuple):
  """The outcome of a dialogue.

  Attributes:
    outcome: where the dialogue counts, see `envs/outcomes.py`.
    score: verdict of the checker.
    note: why it did not succeed, for people.
    user_fault: a fault of the user, of successes too; '' if there is none.
  """

  outcome: types.Outcome
  score: types.Score
  note: str
  user_fault: str


def judge(env: env_lib.Env, task: types.Task, world: env_lib.World,
          end: dialogue.End) -> Verdict:
  """Scores a dialogue; see `settle`."""
  return settle(env, task, end, env.score(task, world, end.messages,
                                          end.reason))


def settle(env: env_lib.Env, task: types.Task, end: dialogue.End,
           score: types.Score) -> Verdict:
  """Returns the verdict on a dialogue of a known score.

  A broken checker gives CHECKER_ERROR. Faults of the user are looked for in
  every dialogue; one that failed with a fault is USER_FAULT.

  Args:
    env: finds faults of the user.
    task: the task that was played.
    end: end of its dialogue.
    score: verdict on it.
  """
  fault = user_fault(env, task, end.messages)
  if score.error:
    return Verdict(O.CHECKER_ERROR, score, score.error, fault)
  if score.unjudged:
    return Verdict(O.UNJUDGED, score,
                   'It takes a judge to tell, and there is none.', fault)
  if score.reward == 1:
    return Verdict(O.SUCCESS, score, '', fault)
  if fault:
    return Verdict(O.USER_FAULT, score, fault, fault)
  if end.reason in ('max_steps', 'too_many_errors'):
    return Verdict(O.AGENT_LIMIT, score, f'The dialogue ended by {end.reason}.',
                   '')
  failed = [clause for clause, ok in score.clauses.items() if not ok]
  return Verdict(O.FAILURE, score,
                 '; '.join(failed) or f'Ended by {end.reason}.', '')


def user_fault(env: env_lib.Env, task: types.Task,
               messages: Sequence[types.Message]) -> str:
  """Returns a fault of the user in a dialogue so far, '' if there is none.

  Silence (an empty or unreadable message) is a fault only if the agent's last
  turn was in order.
  """
  last = messages[-1]
  if last.role == 'user' and not (last.is_call or last.has_text):
    odd = out_of_order(messages)
    return '' if odd else 'The user sent an empty or unreadable message.'
  return env.fault(task, messages)


def out_of_order(messages: Sequence[types.Message]) -> str:
  """Says what no user could answer in the agent's last text; '' if nothing.

  That is a text that the agent has sent before, one without a letter or a
  digit, or one that repeats a word over and over.
  """
  texts = [m.content for m in messages if m.role == 'assistant' and m.has_text
           and not m.is_call]
  if not texts:
    return 'The agent has said nothing.'
  *earlier, text = texts
  if text in earlier:
    return 'The agent sent the same text again.'
  if not any(c.isalnum() for c in text):
    return 'The agent sent a text without a word.'
  runs = (len(list(run)) for _, run in itertools.groupby(text.lower().split()))
  if max(runs) >= STUCK:
    return 'The agent repeated a word over and over.'
  return ''
