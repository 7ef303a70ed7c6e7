"""What an environment is: tools over a state, prompts, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
import itertools
from typing import Any, Protocol

from agentrl import types

# Both the built-in domains and the benchmark name the tool so.
TRANSFER_TOOL = 'transfer_to_human'
PLEA = 'The customer asks for a human.'


class ToolBroken(RuntimeError):
  """A tool raised something that is not an answer. Never scored as a zero."""


class World(Protocol):
  """The live state of one dialogue.

  Attributes:
    solo: the agent is alone with its tools; no user takes part.
  """

  solo: bool

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    """Runs the calls of one message and returns their results, in order.

    A bad call (unknown tool, ill-typed argument, domain error) is answered by
    a message with `error=True` and changes nothing.

    Raises:
      ToolBroken: a tool itself is at fault.
    """


class Env(Protocol):
  """A domain that dialogues can be played in and judged by."""

  name: str

  def prompt(self, side: types.Side, task: types.Task) -> types.Message:
    """System message of one side, with those of its tools that it shows."""

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    """OpenAI function schemas of the tools of one side."""

  def start(self, task: types.Task) -> World:
    """A fresh world in the task's initial state."""

  def score(self, task: types.Task, world: Any,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    """The verdict. Anything that did not end by a stop scores 0."""

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    """A fault of the user, found from state; '' if there is none."""

  def fingerprint(self) -> str:
    """Hash of all that a score depends on: policy, tools, data, evaluator."""


def prompt_text(env: Env, side: types.Side, task: types.Task) -> str:
  """Returns the system prompt of one side as plain text, tools below it."""
  prompt = env.prompt(side, task)
  return types.with_tools(prompt.content, prompt.tools)


def transfers(env: Env, task: types.Task) -> list[types.ToolCall]:
  """Every way to hand a task over: each of a choice of reasons, a plea where
  it is free text. None if the domain has no such tool."""
  found = []
  for schema in env.tools('assistant', task):
    function = schema['function']
    if function['name'].startswith(TRANSFER_TOOL):
      params = function['parameters']
      names = params.get('required', ())
      choices = [params['properties'][n].get('enum', [PLEA]) for n in names]
      found += [types.ToolCall(function['name'], dict(zip(names, values)))
                for values in itertools.product(*choices)]
  return found


def handed_over(messages: Sequence[types.Message]) -> bool:
  """True if the agent has called for a human."""
  return any(call.name.startswith(TRANSFER_TOOL)
             for m in messages for call in m.tool_calls)
