"""Reads the benchmark's databases as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
import functools
import json
from typing import Any

from agentrl import types
from agentrl.envs.tau2 import env as tau2_env

Record = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Record]]  # table -> key -> record


def fresh_world(env: tau2_env.Tau2, start: str = '{}'
                ) -> tau2_env.Tau2World:
  """Starts a world in an initial state (JSON), the domain's own without one."""
  return env.start(types.Task('', env.name, '',
                              initial_state=json.loads(start) or None))


@functools.lru_cache(maxsize=16)  # whole databases
def tables(env: tau2_env.Tau2, start: str = '{}') -> Tables:
  """Returns the database, and the user's device if there is one, in an initial
  state (JSON)."""
  return dump(fresh_world(env, start).environment)


def dump(environment: Any) -> dict[str, dict[str, Any]]:
  """Returns database and user's device of the package's environment."""
  content = environment.tools.db.model_dump(mode='json')
  if environment.user_tools:
    content['user'] = environment.user_tools.db.model_dump(mode='json')
  return {name: _by_id(rows) for name, rows in content.items()}


def _by_id(rows: Any) -> dict[str, Any]:
  """Converts a list of records to a table, by their first field."""
  if isinstance(rows, dict):
    return rows
  return {next(iter(record.values())): record for record in rows}


@functools.lru_cache(maxsize=4)
def write_names(env: tau2_env.Tau2) -> frozenset[str]:
  """Returns the names of the agent's tools that change something."""
  kit = fresh_world(env).environment.tools
  return frozenset(name for name in kit.get_tools()
                   if kit.tool_type(name).value == 'write')
