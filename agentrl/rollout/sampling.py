"""Declares how a side is sampled: the section `sampler` of a config."""

from __future__ import annotations

import dataclasses

from agentrl.tokenizer import formats


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Arguments of `policy.from_bundle`.

  Attributes:
    slots: dialogues at a time.
    length: most tokens of a dialogue, fed and sampled.
    max_new: most tokens of a turn.
    width: most rows of a step.
    chunks: numbers of new tokens that are read at once.
    burst: tokens between two looks of the host.
    temperature: temperature of the sampling; 0 is greedy.
    history_thinking: see `formats.Keeps`.
  """

  slots: int
  length: int
  max_new: int
  width: int
  chunks: tuple[int, ...]
  burst: int
  temperature: float
  history_thinking: formats.Keeps


# Fields that change the speed of sampling, but not its distribution.
SPEED = ('slots', 'width', 'chunks', 'burst')
