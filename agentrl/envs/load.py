"""Makes environments from their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
from typing import Any

from agentrl import resolve
from agentrl import types
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs.tau2 import env as tau2_env

BUILT_IN = ('orders', 'router')


def load(name: str, options: Mapping[str, Any] | None = None) -> env_lib.Env:
  """Returns the environment of a name.

  Args:
    name: a built-in domain, `tau2:<domain>`, or the import path of a package
      with state.py, tools.py and policy.md.
    options: keyword arguments of the environment.

  Raises:
    ValueError: no such domain, or its folder lacks a part.
  """
  options = dict(options or {})
  if name.startswith('tau2:'):
    return resolve.call(tau2_env.Tau2, dict(domain=name[5:], **options))
  path = f'agentrl.envs.domains.{name}' if name in BUILT_IN else name
  return resolve.call(domain.Domain, dict(path=path, **options))


class ManyEnvs:
  """Several environments as one `env.Env`: each task goes to its domain's.

  Args:
    envs: environment of each domain's name.
  """

  def __init__(self, envs: Mapping[str, env_lib.Env]):
    self.envs = dict(envs)
    self.name = '+'.join(self.envs)

  @property
  def grading(self) -> str:
    """Version of the benchmark that judges; '' for other domains."""
    versions = {getattr(env, 'grading', '') for env in self.envs.values()}
    return ', '.join(sorted(filter(None, versions)))

  def _env_of(self, task: types.Task) -> env_lib.Env:
    if task.domain not in self.envs:
      raise ValueError(f'Task {task.id} is of domain {task.domain!r}, but '
                       f'config.domains has {sorted(self.envs)}.')
    return self.envs[task.domain]

  def tasks(self, split: str) -> list[types.Task]:
    """Returns the tasks that the domains themselves bring.

    Raises:
      ValueError: a domain brings none, or has no such split.
    """
    for name, env in self.envs.items():
      if not hasattr(env, 'tasks'):
        raise ValueError(f'{name} brings no tasks of its own: set config.data '
                         'to the folder of a data stage.')
    return [t for env in self.envs.values() for t in env.tasks(split)]

  def prompt(self, side: types.Side, task: types.Task) -> types.Message:
    return self._env_of(task).prompt(side, task)

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    return self._env_of(task).tools(side, task)

  def start(self, task: types.Task) -> env_lib.World:
    return self._env_of(task).start(task)

  def score(self, task: types.Task, world: Any,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    return self._env_of(task).score(task, world, messages, ended)

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    return self._env_of(task).fault(task, messages)

  def fingerprint(self) -> str:
    parts = [f'{k}={e.fingerprint()}' for k, e in sorted(self.envs.items())]
    return hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]


def load_many(names: Sequence[str],
              options: Mapping[str, Any] | None = None) -> ManyEnvs:
  """Returns the environments of several names (see `load`) as one."""
  return ManyEnvs({name: load(name, options) for name in names})
