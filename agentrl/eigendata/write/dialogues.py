"""DialogSynthesis: agent and user talk by a script, and call real tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata import source as source_lib
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.llm import llm as llm_lib

MOST_LENGTH = 4  # of a dialogue, in lengths of its gold run
MOST_ECHOES = 3  # messages of a side that are all the same, one after another
Played = tuple[source_lib.WritableWorld, dialogue.End]


class Circling(rejection.SampleRejected):
  """A side goes in circles.

  Attributes:
    side: that side.
  """

  def __init__(self, side: types.Side, words: str | None):
    super().__init__(types.Worker.DIALOG_SYNTHESIS, 'goes in circles',
                     repr(words))
    self.side = side


def synthesize(writer: prompts.Writer, env: source_lib.WritableEnv,
               task: types.Task, intent: source_lib.Intent,
               draw: source_lib.Draw, *, seed: int) -> Played:
  """Plays a dialogue in which the writer speaks for agent and user.

  Args:
    writer: LLM that speaks.
    env: domain of the task.
    task: task, with its gold run.
    intent: intent that the task was made from.
    draw: draw that the intent was written for.
    seed: seed of both sides.

  Returns:
    the world that the dialogue left behind, and its end.

  Raises:
    Circling: a side goes in circles.
  """
  def speak(side: types.Side, seen: list[types.Message]) -> types.Message:
    return writer.speak(seen, tools(writer, env, task, side), seed)
  return play(env, task, system_prompts(writer, env, task, intent, draw), speak)


def tools(writer: prompts.Writer, env: env_lib.Env, task: types.Task,
          side: types.Side) -> list[Mapping[str, Any]]:
  """Returns the tools that a side may call. A model with short prompts is shown
  those of the gold run alone: it is small, and finds no tool among many."""
  called = {a.name for a in task.criteria.actions}
  return [tool for tool in env.tools(side, task)
          if tool['function']['name'] in called or not writer.brief]


def system_prompts(writer: prompts.Writer, env: source_lib.WritableEnv,
                   task: types.Task, intent: source_lib.Intent,
                   draw: source_lib.Draw) -> dict[types.Side, types.Message]:
  """Returns the prompt of each side: the domain's, without the tools, which are
  given apart, and the script below it."""
  payload = {'script': list(map(dataclasses.asdict, intent.script)),
             'style': draw.plan.style, 'others': draw.others,
             'entity': env.entity or source_lib.NO_ENTITY,
             'critique': intent.critique}
  return {
      side: types.Message('system', f'{env.prompt(side, task).content}\n\n'
                          + writer.system(role, payload).content)
      for role, side in llm_lib.SIDES.items()}


def play(env: source_lib.WritableEnv, task: types.Task,
         system: Mapping[types.Side, types.Message],
         speak: Callable[[types.Side, list[types.Message]], types.Message]
         ) -> Played:
  """Plays a dialogue in which `speak(side, messages so far)` speaks for both.

  Raises:
    Circling: a side goes in circles.
  """
  world = env.start(task)
  game = dialogue.play(world, system=system, limits=dialogue.Limits(
      max_steps=MOST_LENGTH * len(task.gold.moves)))
  seen: dict[str, list[types.Message]] = {'assistant': [], 'user': []}
  reply = None
  try:
    while True:
      ask = game.send(reply)
      seen[ask.side] += [m for _, m in ask.new]
      reply = speak(ask.side, seen[ask.side])
      seen[ask.side].append(reply)
      _check_progress(ask.side, seen[ask.side])
  except StopIteration as stop:
    return world, stop.value


def _check_progress(side: types.Side, seen: Sequence[types.Message]) -> None:
  """Raises `Circling` if a side has said the same `MOST_ECHOES` times."""
  own = [(m.content, m.tool_calls) for m in seen if m.role == 'assistant']
  if own[-MOST_ECHOES:] == [own[-1]] * MOST_ECHOES:
    raise Circling(side, own[-1][0])
