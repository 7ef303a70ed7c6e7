"""DialogSynthesis: agent and user talk, with real tools, by a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata.check import mutants
from agentrl.eigendata.write import workers
from agentrl.envs import dialogue
from agentrl.envs import domain
from agentrl.llm import llm as llm_lib

ASTRAY = 4  # a talk this many times as long as its script has lost it
CIRCLES = 3  # times that a side may not say the same, one after another


def synthesize(author: prompts.Author, env: domain.Domain, task: types.Task,
               intent: workers.Intent, seeds: workers.Seeds, *, seed: int
               ) -> tuple[domain.DomainWorld, dialogue.End]:
  """DialogSynthesis: agent and user talk, with real tools.

  Raises:
    SampleRejected: a side goes in circles.
  """
  def say(side: types.Side, messages: list[types.Message]) -> types.Message:
    return author.llm.complete(
        messages, tools=tools(author, env, task, side), seed=seed).message
  return talk(env, task, instructed(author, env, task, intent, seeds), say)


def tools(author: prompts.Author, env: domain.Domain, task: types.Task,
          side: types.Side) -> list[Mapping[str, Any]]:
  """What a side may call; of brief prompts what the gold run calls alone, for a
  small model finds no tool among many."""
  called = {a.name for a in task.criteria.actions}
  return [tool for tool in env.tools(side, task)
          if tool['function']['name'] in called or not author.brief]


def instructed(author: prompts.Author, env: domain.Domain, task: types.Task,
               intent: workers.Intent, seeds: workers.Seeds
               ) -> dict[types.Side, types.Message]:
  """The prompts of both sides: the domain's, less the tools, which each is
  given as such, and the script below it."""
  payload = {'script': list(map(dataclasses.asdict, intent.script)),
             'style': seeds.plan.style,
             'others': seeds.others, 'entity': mutants.entity(env),
             'critique': intent.critique}
  return {
      side: types.Message('system', f'{env.prompt(side, task).content}\n\n'
                          + author.system(role, payload).content)
      for role, side in llm_lib.SIDES.items()}


def talk(env: domain.Domain, task: types.Task,
         prompt: Mapping[types.Side, types.Message],
         say: Callable[[types.Side, list[types.Message]], types.Message]
         ) -> tuple[domain.DomainWorld, dialogue.End]:
  """A dialogue in which `say(side, what it has seen)` speaks for both.

  Raises:
    SampleRejected: a side goes in circles.
  """
  world = env.start(task)
  game = dialogue.play(world, system=prompt,
                       limits=dialogue.Limits(
                           max_steps=ASTRAY * len(task.gold.moves)))
  seen: dict[str, list[types.Message]] = {'assistant': [], 'user': []}
  reply = None
  try:
    while True:
      ask = game.send(reply)
      seen[ask.side] += [m for _, m in ask.new]
      reply = say(ask.side, seen[ask.side])
      seen[ask.side].append(reply)
      _check_it_moves(seen[ask.side])
  except StopIteration as stop:
    return world, stop.value


def _check_it_moves(seen: Sequence[types.Message]) -> None:
  """Rejects a talk in which a side has said just the same `CIRCLES` times."""
  own = [(m.content, m.tool_calls) for m in seen if m.role == 'assistant']
  if own[-CIRCLES:] == [own[-1]] * CIRCLES:
    raise rejection.SampleRejected(
        types.Worker.DIALOG_SYNTHESIS, 'goes in circles', repr(own[-1][0]))
