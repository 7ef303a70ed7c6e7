"""A dialogue about a tau2-bench task under way, written move by move.

What the writers of all three domains share: `tau2_telecom.py`,
`tau2_airline.py` and `tau2_retail.py` speak for both sides through it, while
the calls run in the benchmark's environment by the rules of dialogues.
"""

from __future__ import annotations

from collections.abc import Sequence
import random
from typing import Any

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2


class Talk:
  """A dialogue under way; each method makes a move in it.

  Attributes:
    task: what it is about.
    rng: draws the words.
    world: where calls are executed.
    end: how it ended; None before.
  """

  def __init__(self, env: tau2.Tau2, task: types.Task, rng: random.Random):
    self.task, self.rng, self.end = task, rng, None
    self.world = env.start(task)
    self._game = dialogue.play(
        self.world, system=dialogue.UNPROMPTED)
    self._ask = next(self._game)

  def say(self, side: types.Side, variants: Sequence[str], *gaps: Any,
          before: str = '') -> None:
    """One of the variants, its gaps filled, after the words `before`."""
    text = before + self.rng.choice(variants).format(*gaps)
    self._send(side, types.Message('assistant', text))

  def call(self, side: types.Side, name: str, **arguments: Any) -> str:
    """The result of a call.

    Raises:
      replay.Unplayable: it was refused.
    """
    result = self.attempt(side, name, **arguments)
    if result.error:
      raise replay.Unplayable(f'{name} was refused: {result.content}')
    return result.content

  def attempt(self, side: types.Side, name: str,
              **arguments: Any) -> types.Message:
    """The result of a call that may be refused."""
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
