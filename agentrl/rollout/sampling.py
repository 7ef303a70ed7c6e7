"""Declares how a side is sampled: the section `sampler` of a config."""

from __future__ import annotations

import dataclasses

from agentrl.tokenizer import formats


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Arguments of `policy.from_bundle`.

  Attributes:
    slots: number of dialogues at a time.
    length: most tokens of a dialogue, fed and sampled.
    max_new: most tokens of a turn.
    width: most rows of a call on the device.
    chunks: numbers of new tokens that are read at once.
    burst: tokens of each dialogue that are sampled without the host.
    temperature: divides the logits; 0 is greedy.
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


# Fields that change the speed of sampling, but not the samples.
SPEED = ('slots', 'width', 'chunks', 'burst')
