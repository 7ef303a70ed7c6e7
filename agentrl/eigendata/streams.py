"""Streams: a plan pair, the prompts that write for it, and its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import json
from typing import Any

from agentrl.eigendata import planner
from agentrl.eigendata import prompts


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


def dumps(streams: Streams) -> str:
  """As JSON: every version of the prompts stands there once."""
  versions = {s.prompts.version: dict(s.prompts.texts)
              for found in streams.values() for s in found}
  return json.dumps({
      'prompts': versions,
      **{split: [{'plan': dataclasses.asdict(s.plan), 'weight': s.weight,
                  'prompts': s.prompts.version} for s in found]
         for split, found in streams.items()}}, indent=1)


@functools.lru_cache(maxsize=4)
def loads(text: str) -> Streams:
  record: dict[str, Any] = json.loads(text)
  versions = {k: prompts.Prompts(v)
              for k, v in record.pop('prompts').items()}
  return {split: [Stream(planner.from_json(s['plan']), versions[s['prompts']],
                         s['weight']) for s in found]
          for split, found in record.items()}
