"""Declares environments: tools over a state, prompts, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
import itertools
from typing import Any, Protocol

from agentrl import types

# Name of the tool in the built-in domains; the benchmark's starts so too.
TRANSFER_TOOL = 'transfer_to_human'
PLEA = 'The customer asks for a human.'


class ToolBroken(RuntimeError):
  """A tool is at fault, not its caller. Never scored as a zero."""


class World(Protocol):
  """The live state of one dialogue.

  Attributes:
    solo: only the agent and its tools take part, no user.
  """

  solo: bool

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    """Runs the calls of one message; returns their results, in order.

    A bad call (unknown tool, ill-typed argument, domain error) gives a message
    with `error=True` and changes nothing.

    Raises:
      ToolBroken: a tool itself is at fault.
    """


class Env(Protocol):
  """A domain in which dialogues are played and judged."""

  name: str

  def prompt(self, side: types.Side, task: types.Task) -> types.Message:
    """Returns the system message of one side, with the tools it shows."""

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    """Returns the OpenAI function schemas of all tools of one side."""

  def start(self, task: types.Task) -> World:
    """Returns a fresh world in the task's initial state."""

  def score(self, task: types.Task, world: Any,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    """Judges a dialogue; one that did not end by a stop scores 0.

    Args:
      task: the task that was played.
      world: its world at the end.
      messages: messages of both sides, with true roles.
      ended: reason of `dialogue.End`.
    """

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    """Describes a fault of the user, '' if the state shows none."""

  def fingerprint(self) -> str:
    """Hashes all that a score depends on: policy, tools, data, evaluator."""


def prompt_text(env: Env, side: types.Side, task: types.Task) -> str:
  """Returns the system prompt of one side as plain text, tools below it."""
  prompt = env.prompt(side, task)
  return types.with_tools(prompt.content, prompt.tools)


def transfers(env: Env, task: types.Task) -> list[types.ToolCall]:
  """Returns every call that hands a task over to a human.

  One for each choice of reasons; a free text is `PLEA`. [] if the domain has
  no such tool.
  """
  calls = []
  for schema in env.tools('assistant', task):
    function = schema['function']
    if function['name'].startswith(TRANSFER_TOOL):
      params = function['parameters']
      names = params.get('required', ())
      choices = [params['properties'][n].get('enum', [PLEA]) for n in names]
      calls += [types.ToolCall(function['name'], dict(zip(names, values)))
                for values in itertools.product(*choices)]
  return calls


def handed_over(messages: Sequence[types.Message]) -> bool:
  """Returns whether the agent has called for a human."""
  return any(call.name.startswith(TRANSFER_TOOL)
             for m in messages for call in m.tool_calls)
