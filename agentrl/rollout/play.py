"""Plays many dialogues at once, each by the rules of `envs/dialogue.py`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent import futures
import dataclasses

import numpy as np

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import reward
from agentrl.rollout import policy as policy_lib

O = types.Outcome
Verdict = tuple[dialogue.End, types.Outcome, types.Score, str]
Game = Generator[dialogue.Ask, types.Message, Verdict]


def play(env: env_lib.Env, tasks: Sequence[types.Task], *,
         agent: policy_lib.Policy, user: policy_lib.Policy,
         seeds: Sequence[int], trials: Sequence[int] | None = None,
         limits: dialogue.Limits = dialogue.Limits(),
         progress: Callable[[int], object] = lambda n: None
        ) -> list[types.Episode]:
  """Plays each task once, as many at a time as the policies have room for.

  Args:
    env: the environment, judge included.
    tasks: task of each dialogue; a task may occur many times.
    agent: speaks for the assistant.
    user: speaks for the user; not the same object as the agent.
    seeds: seed of each dialogue; equal seeds give equal samples.
    trials: number of each episode among those of its task; all 0 if None.
    limits: largest numbers of steps and errors.
    progress: called with 1 at the end of each dialogue (`tqdm.update`).

  Returns:
    the episodes, in the order of the tasks.

  Raises:
    ValueError: lists of unequal length.
    RuntimeError: a policy has no room although no dialogue is open.
  """
  trials = [0] * len(tasks) if trials is None else trials
  if not len(tasks) == len(seeds) == len(trials):
    raise ValueError(f'{len(tasks)} tasks, {len(seeds)} seeds and '
                     f'{len(trials)} trials: pass one of each a dialogue.')
  table = _Table({'assistant': agent, 'user': user}, progress)
  started = 0
  try:
    while len(table.episodes) < len(tasks):
      while started < len(tasks) and table.open(started, seeds[started],
                                                tasks[started]):
        game = _game(env, tasks[started], limits)
        table.start(started, _Live(tasks[started], trials[started], game))
        started += 1
      if started < len(tasks) and not table.live:
        raise RuntimeError('A policy has no free slot though nothing is being '
                           'played: close what others have opened on it.')
      table.turn()
  finally:  # Ctrl-C or a bug: the policies outlive this call
    for key in list(table.live):
      table.leave(key)
    table.close()
  return [table.episodes[key] for key in range(len(tasks))]


def _game(env: env_lib.Env, task: types.Task, limits: dialogue.Limits) -> Game:
  """Plays one dialogue from the start of its world to the verdict."""
  world = env.start(task)
  system = {side: env.prompt(side, task) for side in ('assistant', 'user')}
  rules = dialogue.play_solo if world.solo else dialogue.play
  end = yield from rules(world, system=system, limits=limits)
  return end, *reward.judge(env, task, world, end)


@dataclasses.dataclass
class _Live:
  """A dialogue under way.

  Attributes:
    task: the task that is played.
    trial: number of the episode among those of its task.
    game: the rules, see `_game`.
    messages: message by index, as both sides have seen or sent it: all that is
      left of a dialogue that breaks off.
    ask: the turn under way.
  """

  task: types.Task
  trial: int
  game: Game
  messages: dict[int, types.Message] = dataclasses.field(default_factory=dict)
  ask: dialogue.Ask | None = None

  def note(self, index: int, message: types.Message) -> None:
    """Keeps a message, given in the view of the side that must speak."""
    if index >= 0:  # `seen_from` is its own inverse
      self.messages[index] = dialogue.seen_from(message, self.ask.side)


class _Table:
  """Dialogues under way, and the two policies that play them."""

  def __init__(self, sides: dict[types.Side, policy_lib.Policy],
               progress: Callable[[int], object]):
    self._sides = sides
    self._progress = progress
    self._pool = futures.ThreadPoolExecutor(len(sides))
    self.live: dict[int, _Live] = {}
    self.episodes: dict[int, types.Episode] = {}

  def open(self, key: int, seed: int, task: types.Task) -> bool:
    """Opens the dialogue with both policies, or with neither."""
    # The sides of one dialogue must not share random numbers.
    seeds = np.random.SeedSequence(seed).generate_state(2)
    for i, policy in enumerate(self._sides.values()):
      if not policy.open(key, int(seeds[i]), task):
        for opened in list(self._sides.values())[:i]:
          opened.close(key)
        return False
    return True

  def start(self, key: int, live: _Live) -> None:
    """Starts a dialogue that both policies have opened."""
    self.live[key] = live
    self._advance(key, None)

  def turn(self) -> None:
    """Lets both sides work a little at once, and serves their replies.

    The order is fixed: a run must not depend on which side was faster.
    """
    # Both must have ended before a reply is served: it asks the other side.
    for replies in list(self._pool.map(lambda policy: policy.ready(),
                                       self._sides.values())):
      for reply in replies:
        live = self.live[reply.key]
        if reply.fault:
          self._break(reply.key, O.INFRA, reply.fault)
        else:
          live.note(live.ask.index, reply.message)
          self._advance(reply.key, reply)

  def _advance(self, key: int, reply: policy_lib.PolicyReply | None) -> None:
    live = self.live[key]
    try:
      live.ask = live.game.send(reply and reply.message)
    except env_lib.ToolBroken as e:
      self._break(key, O.TOOL_ERROR, str(e))
    except StopIteration as stop:
      end, outcome, score, note = stop.value
      if reply.full:
        note = f'The {live.ask.side} ran out of tokens.'
        if outcome == O.FAILURE:
          outcome = O.AGENT_LIMIT
      self._end(key, messages=end.messages, ended=end.reason, outcome=outcome,
                score=score, steps=end.steps, note=note)
    else:
      for index, message in live.ask.new:
        live.note(index, message)
      self._sides[live.ask.side].ask(key, live.ask)

  def _break(self, key: int, outcome: types.Outcome, note: str) -> None:
    """Ends a dialogue by a fault that is not of its sides."""
    messages = [m for _, m in sorted(self.live[key].messages.items())]
    self._end(key, messages=tuple(messages), ended=outcome.value,
              outcome=outcome, score=types.Score(0.0),
              steps=dialogue.count_steps(messages), note=note)

  def _end(self, key: int, **kw) -> None:
    live = self.live[key]
    agent, user = self.leave(key)
    self.episodes[key] = types.Episode(
        task_id=live.task.id, trial=live.trial, agent=agent, user=user, **kw)
    self._progress(1)

  def close(self) -> None:
    self._pool.shutdown()

  def leave(self, key: int) -> tuple[types.Trace | None, types.Trace | None]:
    """Removes a dialogue; returns the traces of agent and user."""
    self.live.pop(key).game.close()
    agent, user = (policy.close(key) for policy in self._sides.values())
    return agent, user
