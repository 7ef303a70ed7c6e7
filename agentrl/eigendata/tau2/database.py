"""Reads the benchmark's databases of airline and retail as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
import functools
from typing import Any

from agentrl import types
from agentrl.envs.tau2 import env as tau2_env

Record = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Record]]  # table -> key -> record


def fresh_world(env: tau2_env.Tau2) -> tau2_env.Tau2World:
  """Starts a world in the first state of the domain's database."""
  return env.start(types.Task('', env.name, ''))


@functools.lru_cache(maxsize=4)
def tables(env: tau2_env.Tau2) -> Tables:
  """Returns the whole database in its first state."""
  db = fresh_world(env).environment.tools.db
  return {name: {key: row.model_dump(mode='json')
                 for key, row in getattr(db, name).items()}
          for name in type(db).model_fields}


@functools.lru_cache(maxsize=4)
def write_names(env: tau2_env.Tau2) -> frozenset[str]:
  """Returns the names of the agent's tools that change something."""
  kit = fresh_world(env).environment.tools
  return frozenset(name for name in kit.get_tools()
                   if kit.tool_type(name).value == 'write')
