"""Compiles programs, and measures their needs of a chip."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import Any

import jax

from agentrl.capacity import chips
from agentrl.capacity import hlo
from agentrl.capacity import programs

# Share of the peak that a Pallas kernel is taken to reach: the compiler has no
# estimate for its inside.
KERNEL_SHARE = 0.5


@dataclasses.dataclass
class Needs:
  """Needs of one program on one device.

  Attributes:
    name, held, slots, tokens, devices: see `programs.Program`.
    temporary: further bytes while it runs.
    flops: FLOPs that it computes, recomputed ones included.
    model_flops: FLOPs that the model needs.
    hbm_bytes: bytes read and written, loop bodies once: the compiler's count.
    collectives: kind to [count, bytes sent].
    senders: bytes sent, by the operations that send most.
    compute_s: seconds by the compiler's cycles, kernels at `KERNEL_SHARE` of
      the peak.
    send_s: seconds of sending at the rate of one axis of the torus.
    compile_s: seconds of compiling.
  """

  name: str
  held: dict[str, int]
  slots: int
  tokens: int
  devices: int
  temporary: int
  flops: float
  model_flops: float
  hbm_bytes: float
  collectives: dict[str, list[float]]
  senders: dict[str, float]
  compute_s: float
  send_s: float
  compile_s: float

  @property
  def peak(self) -> int:
    """Adds up the bytes while it runs."""
    return sum(self.held.values()) + self.temporary

  def mfu(self, chip: chips.Chip, seconds: float) -> float:
    """Computes the model FLOPs utilisation of a run.

    Source: PaLM, arXiv:2204.02311 appendix B.

    Args:
      chip: the chip it runs on.
      seconds: time of a run.

    Returns:
      The model's FLOPs as a share of the chip's peak.
    """
    return self.model_flops / (seconds * chip.flops)


def needs(program: programs.Program, chip: chips.Chip) -> Needs:
  """Compiles a program and measures it.

  Args:
    program: a lowered program.
    chip: the chip it is compiled for.

  Returns:
    Its needs; for a program that is too large only its bytes.
  """
  began = time.monotonic()
  try:
    compiled = program.lowered.compile()
  except jax.errors.JaxRuntimeError as e:
    used = _too_large(e)
    return _needs(program, used - sum(program.held.values()), hlo.Costs(), 0.0,
                  (0.0, 0.0), time.monotonic() - began)
  memory, text = compiled.memory_analysis(), compiled.as_text()
  costs = hlo.costs(text, unknown=program.parts,
                    branches=program.branches)
  kernels = costs.kernel_flops / (chip.flops * KERNEL_SHARE)
  sent = sum(bytes_ for _, bytes_ in costs.collectives.values())
  more = max(0, memory.output_size_in_bytes - memory.alias_size_in_bytes)
  return _needs(
      program, memory.temp_size_in_bytes + more, costs,
      compiled.cost_analysis().get('bytes accessed', 0.0),
      (costs.cycles / chip.clock + kernels, sent / chip.axis_rate),
      time.monotonic() - began)


def _needs(program: programs.Program, temporary: int, costs: hlo.Costs,
           hbm_bytes: float, seconds: tuple[float, float],
           compile_s: float) -> Needs:
  """Makes the needs of a program; `seconds` are of computing and sending."""
  compute_s, send_s = seconds
  return Needs(
      program.name, program.held, program.slots, program.tokens,
      program.devices, temporary, costs.flops + costs.kernel_flops,
      program.flops / program.devices, hbm_bytes, costs.collectives,
      dict(costs.sources.most_common(5)), compute_s, send_s, compile_s)


def _too_large(error: Exception) -> int:
  """Reads the bytes that a program would have used off the compiler's error."""
  match = re.search(r'(?:Used |temporaries \()([\d.]+)([KMGT])', str(error))
  if not match:
    raise error
  return int(float(match[1]) * 1024 ** (' KMGT'.index(match[2])))


@dataclasses.dataclass
class Fit:
  """The memory of a stage, with all that is held at the same time.

  Attributes:
    hbm: memory of a device [bytes].
    peaks: phase to bytes of a device.
    slot: bytes of one dialogue, both sides together.
    slots: dialogues that fit an engine; -1: there is no engine.
    engines: number of engines.
  """

  hbm: float
  peaks: dict[str, int]
  slot: int = 0
  slots: int = -1
  engines: int = 0

  @property
  def fits(self) -> bool:
    return max(self.peaks.values()) <= self.hbm


def fit(all_needs: list[Needs], chip: chips.Chip) -> Fit:
  """Adds up the memory that is held at the same time.

  While the update runs the engines rest, and only the user's weights are left
  of them. While they run, the update keeps its state; both sides sample at
  once.

  Args:
    all_needs: the update first, then the engines' steps.
    chip: the chip that all run on.
  """
  update, *steps = all_needs
  engines = {step.name.split()[0]: step for step in steps}
  if not steps:
    return Fit(chip.hbm, {'update': update.peak})
  peaks = {'update': update.peak + engines['user'].held['parameters']}
  kept = sum(sum(x.held.values()) for x in engines.values())
  state = sum(update.held.values()) - update.held['batch']
  peaks['rollout'] = state + kept + sum(
      max(x.temporary for x in steps if x.name.startswith(side))
      for side in engines)
  slot = sum(x.held['cache'] // x.slots for x in engines.values())
  slots = min(x.slots for x in engines.values())
  left = chip.hbm - max(peaks.values())
  return Fit(chip.hbm, peaks, slot, int(slots + left // slot),
             update.devices // steps[0].devices)


def as_json(all_needs: list[Needs], memory: Fit, chip: chips.Chip
           ) -> dict[str, Any]:
  """Returns a whole plan as JSON."""
  return {'chip': dataclasses.asdict(chip), 'fits': memory.fits,
          **dataclasses.asdict(memory),
          'programs': [dataclasses.asdict(x) for x in all_needs]}
