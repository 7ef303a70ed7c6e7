"""What an environment is: tools over a state, prompts, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
import itertools
from typing import Any, Protocol

from agentrl import resolve
from agentrl import types

BUILT_IN = ('orders', 'router')
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

  def system(self, side: types.Side, task: types.Task) -> str:
    """`prompt` as plain text, tools included."""

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


def load(name: str, options: Mapping[str, Any] | None = None) -> Env:
  """The environment of a name.

  Args:
    name: a built-in domain, `tau2:<domain>`, or the import path of a package
      with state.py, tools.py and policy.md.
    options: keyword arguments of the environment.

  Raises:
    ValueError: no such domain, or its folder lacks a part.
  """
  options = dict(options or {})
  # Imported here: the benchmark is an extra and takes half a second to load.
  if name.startswith('tau2:'):
    from agentrl.envs.tau2 import env as tau2  # pylint: disable=g-import-not-at-top
    return resolve.call(tau2.Tau2, dict(domain=name[5:], **options))
  from agentrl.envs import domain  # pylint: disable=g-import-not-at-top
  path = f'agentrl.envs.domains.{name}' if name in BUILT_IN else name
  return resolve.call(domain.Domain, dict(path=path, **options))


class Many:
  """Several environments as one: each task goes to that of its domain."""

  def __init__(self, envs: Mapping[str, Env]):
    self.envs = dict(envs)
    self.name = '+'.join(self.envs)

  @property
  def grading(self) -> str:
    """Version of the benchmark whose rules judge; '' for other domains."""
    found = {getattr(env, 'grading', '') for env in self.envs.values()}
    return ', '.join(sorted(filter(None, found)))

  def _of(self, task: types.Task) -> Env:
    if task.domain not in self.envs:
      raise ValueError(f'Task {task.id} is of domain {task.domain!r}, but '
                       f'config.domains has {sorted(self.envs)}.')
    return self.envs[task.domain]

  def tasks(self, split: str) -> list[types.Task]:
    """The tasks that the domains themselves bring.

    Raises:
      ValueError: a domain brings none, or has no such split.
    """
    for name, env in self.envs.items():
      if not hasattr(env, 'tasks'):
        raise ValueError(f'{name} brings no tasks of its own: set config.data '
                         'to the folder of a data stage.')
    return [t for env in self.envs.values() for t in env.tasks(split)]

  def prompt(self, side: types.Side, task: types.Task) -> types.Message:
    return self._of(task).prompt(side, task)

  def system(self, side: types.Side, task: types.Task) -> str:
    return self._of(task).system(side, task)

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    return self._of(task).tools(side, task)

  def start(self, task: types.Task) -> World:
    return self._of(task).start(task)

  def score(self, task: types.Task, world: Any,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    return self._of(task).score(task, world, messages, ended)

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    return self._of(task).fault(task, messages)

  def fingerprint(self) -> str:
    parts = [f'{k}={e.fingerprint()}' for k, e in sorted(self.envs.items())]
    return hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]


def load_many(names: Sequence[str],
              options: Mapping[str, Any] | None = None) -> Many:
  """The environments of several names (see `load`), as one."""
  return Many({name: load(name, options) for name in names})
