"""Plays agents without a model on the tasks that a model is judged on.

`noop`, `refuse` and `transfer` are floors: the rewards of giving up. `gold`
carries out the gold actions and tells the facts: a ceiling, and a check that
the tasks can be solved. Each is a function of an environment that returns both
sides of the dialogue, as the user must play along: it greets, lets the agent
act, does its own part of the gold actions, and stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import math

import numpy as np

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import outcomes
from agentrl.rollout import play
from agentrl.rollout import policy

Script = Callable[[types.Task, list[types.Message]], types.Message]
Pair = tuple[Script, Script]  # agent, user


def noop(env: env_lib.Env) -> Pair:
  """Greets once more, and does nothing else."""
  del env
  return _say(dialogue.GREETING.content), _leave


def refuse(env: env_lib.Env) -> Pair:
  """Declines every request."""
  del env
  return _say('I am sorry, I cannot help with that.'), _leave


def transfer(env: env_lib.Env, variant: int = 0) -> Pair:
  """Hands over to a human at once.

  Args:
    env: its transfer tool is called.
    variant: index of the reason, among `env.transfers`.
  """
  return (functools.partial(_transfer, env, variant),
          functools.partial(_leave_after_transfer, env))


def gold(env: env_lib.Env) -> Pair:
  """Announces the gold actions and the facts, then carries them out."""
  del env
  return _gold_agent, _gold_user


def run(env: env_lib.Env, tasks: Sequence[types.Task], pair: Pair, *,
        limits: dialogue.Limits) -> list[types.Episode]:
  """Plays each task once; scripts are deterministic."""
  agent, user = map(policy.ScriptPolicy, pair)
  return play.play(env, tasks, agent=agent, user=user, limits=limits,
                   seeds=[0] * len(tasks))


def measure(env: env_lib.Env, tasks: Sequence[types.Task], *,
            limits: dialogue.Limits) -> dict[str, list[float]]:
  """Returns the reward of each task under noop, refuse, transfer and gold.

  NaN where it is unknown (the task needs a judge, and none is configured). A
  transfer is tried with every reason that the tool takes; the one that earns
  most in a domain is reported for the whole domain.
  """
  scripts = {'noop': noop, 'refuse': refuse, 'gold': gold}
  earned = lambda chosen, pair: [
      e.reward if outcomes.RULES[e.outcome].evaluated else math.nan
      for e in run(env, chosen, pair, limits=limits)]
  rewards = {name: earned(tasks, fn(env)) for name, fn in scripts.items()}
  rewards['transfer'] = [0.0] * len(tasks)
  for domain in sorted({task.domain for task in tasks}):
    indices = [i for i, task in enumerate(tasks) if task.domain == domain]
    own = [tasks[i] for i in indices]
    tried = [earned(own, transfer(env, i))
             for i in range(max(1, len(env_lib.transfers(env, own[0]))))]
    for i, reward in zip(indices, max(tried, key=np.nansum)):
      rewards['transfer'][i] = reward
  return rewards


def _text(content: str) -> types.Message:
  return types.Message('assistant', content)


def _say(content: str) -> Script:
  return lambda task, seen: _text(content)


def _leave(task: types.Task, seen: list[types.Message],
           word: str = dialogue.STOP) -> types.Message:
  """Plays a user that greets, hears one answer and leaves."""
  del task
  greets = len(_heard(seen)) == 1
  return _text('Hello, I need some help.' if greets else word)


def _leave_after_transfer(env: env_lib.Env, task: types.Task,
                          seen: list[types.Message]) -> types.Message:
  called = bool(env_lib.transfers(env, task))
  return _leave(task, seen, dialogue.TRANSFER if called else dialogue.STOP)


def _heard(seen: Sequence[types.Message]) -> list[types.Message]:
  """Returns the messages of the other side so far."""
  return [m for m in seen if m.role == 'user']


def _transfer(env: env_lib.Env, variant: int, task: types.Task,
              seen: list[types.Message]) -> types.Message:
  transfers = env_lib.transfers(env, task)
  if seen[-1].role == 'tool' or not transfers:
    return _text('You are being transferred to a human.')
  return types.Message('assistant', tool_calls=(transfers[variant],))


def _shifts(task: types.Task) -> list[list[types.Action]]:
  """Splits the gold actions into runs of one side, the assistant's first."""
  shifts: list[list[types.Action]] = [[]]
  for action in task.criteria.actions:
    if action.requestor != ('user' if len(shifts) % 2 == 0 else 'assistant'):
      shifts.append([])
    shifts[-1].append(action)
  return shifts


def _work(shift: Sequence[types.Action], seen: Sequence[types.Message]
          ) -> types.Message:
  """Returns the next call of a shift, or a text that it is over."""
  latest = max(i for i, m in enumerate(seen) if m.role == 'user')
  done = sum(m.role == 'tool' for m in seen[latest:])
  if done == len(shift):
    return _text('That is done.')
  call = types.ToolCall(shift[done].name, shift[done].arguments)
  return types.Message('assistant', tool_calls=(call,))


def _gold_agent(task: types.Task, seen: list[types.Message]) -> types.Message:
  """Names its actions and all facts to tell, then works its shifts."""
  turn = len(_heard(seen)) - 2  # after the user's greeting and consent
  if turn < 0:
    plan = [f'{a.name} {" ".join(map(str, a.arguments.values()))}'
            for a in task.criteria.actions]
    return _text('; '.join([*plan, *task.criteria.communicate_info])
                 or 'There is nothing to do.')
  shifts = _shifts(task)[::2]
  return _work(shifts[turn] if turn < len(shifts) else [], seen)


def _gold_user(task: types.Task, seen: list[types.Message]) -> types.Message:
  turn = len(_heard(seen)) - 3  # after the greeting, and the plan
  if turn < 0:
    return _text('Hello, I need some help.' if turn == -2 else 'Yes, please.')
  shifts = _shifts(task)[1::2]
  if turn < len(shifts):
    return _work(shifts[turn], seen)
  return _text(dialogue.STOP)
