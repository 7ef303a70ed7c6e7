"""Plays known moves: gold runs and mutants of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses
import random

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib

Moves = Sequence[types.Message]


class Unplayable(ValueError):
  """The moves break the rules of dialogues, or a call was refused."""


def render(script: Iterable[types.Beat], rng: random.Random
           ) -> list[types.Message]:
  """Draws the words of a script; returns it as moves with true roles."""
  return [_move(beat, rng) for beat in script]


def _move(beat: types.Beat, rng: random.Random) -> types.Message:
  if beat.call:
    call = types.ToolCall(beat.call, beat.arguments, requestor=beat.by)
    return types.Message(beat.by, tool_calls=(call,), requestor=beat.by)
  return types.Message(beat.by, rng.choice(beat.say), requestor=beat.by)


def moves(messages: Iterable[types.Message]) -> list[types.Message]:
  """Returns the moves of both sides, without greeting and results."""
  return [m for m in messages
          if m.role != 'tool' and m != dialogue.GREETING]


def enact(env: env_lib.Env, task: types.Task, script: Moves
          ) -> tuple[env_lib.World, dialogue.End]:
  """Plays moves by the rules of `envs/dialogue.py`.

  Returns:
    the world at the end, and the end.

  Raises:
    Unplayable: a side moves out of turn, the dialogue ends too early or not at
      all, or a call is refused.
  """
  world = env.start(task)
  game = dialogue.play(world, system=dialogue.UNPROMPTED)
  reply, left = None, list(script)
  try:
    while True:
      ask = game.send(reply)
      if refused := [m.content for _, m in ask.new if m.error]:
        raise Unplayable(f'A call was refused: {refused[0]}')
      if not left or left[0].role != ask.side:
        mover = left[0].role if left else 'nobody'
        raise Unplayable(
            f'It is the turn of the {ask.side}, but {mover} moves.')
      reply = left.pop(0)
  except StopIteration as stop:
    if left or stop.value.reason != 'user_stop':
      raise Unplayable(f'It ended by {stop.value.reason} with {len(left)} '
                       'moves left.') from None
    return world, stop.value


def replay(env: env_lib.Env, task: types.Task, script: Moves
           ) -> tuple[env_lib.World, list[types.Message]]:
  """Plays moves in their order: no rules, and a refused call stays refused.

  Returns:
    the world at the end, and all messages.
  """
  world, played = env.start(task), [dialogue.GREETING]
  for i, move in enumerate(script):
    if not move.tool_calls:
      played.append(move)
      continue
    calls = tuple(dataclasses.replace(c, id=f'{i}.{k}')
                  for k, c in enumerate(move.tool_calls))
    played.append(dataclasses.replace(move, tool_calls=calls))
    played += world.execute(calls)
  return world, played
