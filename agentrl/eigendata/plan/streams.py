"""Streams: a plan pair, the prompts that write for it, and its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

from agentrl import files
from agentrl import jsons
from agentrl.eigendata import prompts
from agentrl.eigendata.plan import planner


@dataclasses.dataclass(frozen=True)
class Stream:
  """A source of samples.

  Attributes:
    plan: synthesis and evaluation plan.
    prompts: prompts of the workers.
    weight: relative number of its samples.
  """

  plan: planner.Plan
  prompts: prompts.Prompts
  weight: float


Streams = Mapping[str, Sequence[Stream]]  # split -> streams


def to_json(streams: Streams) -> dict[str, Any]:
  """Returns JSON in which each version of the prompts stands once."""
  versions = {s.prompts.version: dict(s.prompts.texts)
              for of_split in streams.values() for s in of_split}
  return {'prompts': versions, **{
      split: [{'plan': dataclasses.asdict(s.plan), 'weight': s.weight,
               'prompts': s.prompts.version} for s in of_split]
      for split, of_split in streams.items()}}


def from_json(record: Mapping[str, Any]) -> Streams:
  """Reads the streams of all splits; the inverse of `to_json`."""
  versions = {k: prompts.Prompts(v) for k, v in record['prompts'].items()}
  return {split: [Stream(jsons.from_json(planner.Plan, s['plan']),
                         versions[s['prompts']], s['weight'])
                  for s in of_split]
          for split, of_split in record.items() if split != 'prompts'}


def read(folder: str, name: str) -> Streams:
  """Reads the streams in a file of a data stage."""
  return from_json(files.read_json(pathlib.Path(folder, name)))
