"""Writes a dialogue about a tau2-bench task move by move.

The writers of the three domains speak for both sides through it, while the
calls run in the benchmark's environment by the rules of `envs/dialogue.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
import random
from typing import Any

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2_env


class ScriptedDialogue:
  """Plays a dialogue under way; each method makes a move in it.

  Attributes:
    task: the task that the dialogue is about.
    rng: draws the words.
    world: executes the calls.
    end: end of the dialogue; None while it goes on.
  """

  def __init__(self, env: tau2_env.Tau2, task: types.Task, rng: random.Random):
    self.task, self.rng, self.end = task, rng, None
    self.world = env.start(task)
    self._game = dialogue.play(
        self.world, system=dialogue.UNPROMPTED)
    self._ask = next(self._game)

  def say(self, side: types.Side, variants: Sequence[str], *gaps: Any,
          before: str = '') -> None:
    """Says one of the variants, its gaps filled, after the words `before`."""
    text = before + self.rng.choice(variants).format(*gaps)
    self._send(side, types.Message('assistant', text))

  def call(self, side: types.Side, name: str, **arguments: Any) -> str:
    """Makes a call and returns its result.

    Raises:
      replay.Unplayable: the call was refused.
    """
    result = self.attempt(side, name, **arguments)
    if result.error:
      raise replay.Unplayable(f'{name} was refused: {result.content}')
    return result.content

  def attempt(self, side: types.Side, name: str,
              **arguments: Any) -> types.Message:
    """Makes a call that may be refused and returns its result."""
    call = types.ToolCall(name, arguments)
    self._send(side, types.Message('assistant', tool_calls=(call,)))
    return self._ask.new[-1][1]

  def _send(self, side: types.Side, reply: types.Message) -> None:
    if self.end or self._ask.side != side:
      raise replay.Unplayable(f'It is not the turn of the {side}.')
    try:
      self._ask = self._game.send(reply)
    except StopIteration as stop:
      self.end = stop.value
