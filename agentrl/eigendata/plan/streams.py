"""Streams: a plan pair, the prompts that write for it, and its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

from agentrl import files
from agentrl.eigendata import prompts
from agentrl.eigendata.plan import planner


@dataclasses.dataclass(frozen=True)
class Stream:
  """What writes samples.

  Attributes:
    plan: what to write and what to look for.
    prompts: of the workers.
    weight: relative number of its samples.
  """

  plan: planner.Plan
  prompts: prompts.Prompts
  weight: float


Streams = Mapping[str, Sequence[Stream]]  # split -> streams


def to_json(streams: Streams) -> dict[str, Any]:
  """As JSON: every version of the prompts stands there once."""
  versions = {s.prompts.version: dict(s.prompts.texts)
              for found in streams.values() for s in found}
  return {'prompts': versions, **{
      split: [{'plan': dataclasses.asdict(s.plan), 'weight': s.weight,
               'prompts': s.prompts.version} for s in found]
      for split, found in streams.items()}}


def from_json(record: Mapping[str, Any]) -> Streams:
  versions = {k: prompts.Prompts(v) for k, v in record['prompts'].items()}
  return {split: [Stream(planner.from_json(s['plan']), versions[s['prompts']],
                         s['weight']) for s in found]
          for split, found in record.items() if split != 'prompts'}


def read(folder: str, name: str) -> Streams:
  """The streams that a file of a data stage holds."""
  return from_json(files.read_json(pathlib.Path(folder, name)))
