"""The declared fields of the data engine's config."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import os
import pathlib
from typing import Any

from agentrl import files
from agentrl.llm import build
from agentrl.stage import fields


@dataclasses.dataclass(frozen=True)
class Evolve:
  """Options of `evolve.evolve`.

  Attributes:
    rounds: most rounds; 0 leaves all prompts as they are.
    pilot: number of samples that a round looks at.
    audit: number of samples of the referee.
    patience: rounds without an accepted revision after which it ends.
    target: acceptance of pilot and audit at which it ends.
  """

  rounds: int
  pilot: int
  audit: int
  patience: int
  target: float


@dataclasses.dataclass(frozen=True)
class Monitor:
  """Options of `shards.acceptance_dropped`.

  Attributes:
    window: number of samples whose acceptance is compared.
    floor: share of the first window's acceptance below which a stream ends.
  """

  window: int
  floor: float


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of the config; configs/eigendata/builtin.py explains them."""

  seed: int
  domains: tuple[str, ...]
  env: Mapping[str, Any]
  databases: int
  num_train: int
  num_test: int
  demands_train: tuple[float, ...]
  demands_test: tuple[float, ...]
  other_share: float
  max_tries: int
  if_short: str
  drop_flagged: bool
  feedback: str
  plan_pairs: int
  validate: bool
  evolve: Evolve
  monitor: Monitor
  shard_size: int
  runner: str
  runner_kw: Mapping[str, Any]
  workers: int
  llm: str
  llm_kw: Mapping[str, Any]
  llm_roles: Mapping[str, Mapping[str, Any]]
  llm_account: build.Account


def read(config: Mapping[str, Any], name: str = 'config') -> Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return fields.read(Config, config, name=name)


def of_folder(folder: str | os.PathLike) -> Config:
  """Returns the config that a run has written into its folder."""
  record = files.read_json(pathlib.Path(folder) / 'config.json')
  return read(record['config'])
