"""Lists the TPUs that can be planned for, and makes their devices."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import jax
from jax.experimental import topologies

from agentrl import resolve


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip, which is one device.

  Attributes:
    hbm: memory [bytes].
    flops: peak of bfloat16 [FLOP/s].
    hbm_rate: bandwidth of its memory [bytes/s].
    axis_rate: bandwidth along one axis of the torus, both directions together
      [bytes/s]: its interconnect divided by the number of axes.
    clock: rate of the cycles that the compiler counts [Hz].
    cores: cores of a chip in the name of an accelerator type.
  """

  hbm: float
  flops: float
  hbm_rate: float
  axis_rate: float
  clock: float
  cores: int


# Source: docs.cloud.google.com/tpu/docs/v4, v5e, v5p and v6e, "Key chip
# specifications". Clocks: arXiv:2304.01433 table 4 for v4; for the others the
# rate at which the compiler's cycles of a large product give the peak.
CHIPS = {
    'v4': Chip(32e9, 275e12, 1228e9, 300e9 / 3, 1.05e9, 2),
    'v5e': Chip(16e9, 197e12, 819e9, 200e9 / 2, 1.5e9, 1),
    'v5p': Chip(95e9, 459e12, 2765e9, 600e9 / 3, 1.75e9, 2),
    'v6e': Chip(32e9, 918e12, 1640e9, 448e9 / 2, 1.75e9, 1),
}
_TYPES = {'v5e': 'v5litepod'}  # accelerator types with another name


def devices(topology: str) -> tuple[Chip, list[Any]]:
  """Makes the devices of a slice that is not there.

  Args:
    topology: chip and shape, as `v5p:8x8x16`.

  Returns:
    The chip, and the devices of the slice.

  Raises:
    ValueError: no such slice, or libtpu is not installed.
  """
  kind, _, shape = topology.partition(':')
  if kind not in CHIPS or not re.fullmatch(r'\d+(x\d+)*', shape):
    raise ValueError(
        f'--topology must be a chip and a shape, as v5p:8x8x16, got '
        f'{topology!r}.' + resolve.hint(kind, CHIPS))
  resolve.extra('libtpu', 'plan')
  chip, count = CHIPS[kind], 1
  for size in shape.split('x'):
    count *= int(size)
  os.environ['TPU_ACCELERATOR_TYPE'] = (
      f'{_TYPES.get(kind, kind)}-{count * chip.cores}')
  try:
    description = topologies.get_topology_desc(
        platform='tpu', topology_name=topology)
  except jax.errors.JaxRuntimeError as e:
    raise ValueError(f'There is no slice {topology}: {e}') from e
  return chip, list(description.devices)
