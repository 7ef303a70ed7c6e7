"""Writes a plan as tables for the terminal, with advice if it does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agentrl.capacity import chips
from agentrl.capacity import measure

_GB = 1e9


def lines(all_needs: Sequence[measure.Needs], memory: measure.Fit,
          chip: chips.Chip, config: Mapping[str, Any]) -> Iterator[str]:
  """Yields the lines of the whole plan."""
  yield from _memory(all_needs)
  yield ''
  yield from _work(all_needs, chip)
  yield ''
  yield from _collectives(all_needs)
  yield ''
  for phase, peak in memory.peaks.items():
    yield (f'{phase}: {peak / _GB:.1f} of {memory.hbm / _GB:.0f} GB a device, '
           'with all that is held beside it')
  if memory.slots >= 0:
    yield (f'KV budget: {memory.slots} dialogues an engine, '
           f'{memory.slot / _GB:.2f} GB a device each with both sides; '
           f'{memory.engines} engines: {memory.slots * memory.engines}')
  yield 'It fits.' if memory.fits else 'It does NOT fit:'
  if not memory.fits:
    yield from (f'  - {x}' for x in advice(all_needs, memory, config))


def _table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
  rows = list(rows)
  widths = [max(map(len, column)) for column in zip(*rows)]
  for row in rows:
    yield '  '.join([row[0].ljust(widths[0]), *(
        cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])


def _memory(all_needs: Sequence[measure.Needs]) -> Iterator[str]:
  kinds = list(dict.fromkeys(k for x in all_needs for k in x.held))
  yield from _table([
      ('GB a device', 'devices', *kinds, 'temporary', 'together'),
      *((x.name, str(x.devices),
         *(f'{x.held.get(k, 0) / _GB:.2f}' for k in kinds),
         f'{x.temporary / _GB:.2f}', f'{x.peak / _GB:.2f}')
        for x in all_needs)])


def _work(all_needs: Sequence[measure.Needs], chip: chips.Chip
         ) -> Iterator[str]:
  """Yields the work of each program. Its time lies between the larger of both
  times and their sum, as collectives run beside products."""
  def row(x: measure.Needs) -> tuple[str, ...]:
    fast, slow = max(x.compute_s, x.send_s), x.compute_s + x.send_s
    if not slow:
      return (x.name, *'-' * 8)
    return (x.name, f'{x.flops / 1e12:.2f}', f'{x.model_flops / 1e12:.2f}',
            f'{x.hbm_bytes / _GB:.1f}', f'{x.compute_s:.3f}',
            f'{x.send_s:.3f}', f'{fast:.3f}-{slow:.3f}',
            f'{x.mfu(chip, slow):.1%}-{x.mfu(chip, fast):.1%}',
            f'{x.tokens / fast:,.0f}')
  yield from _table([
      ('a device', 'TFLOP', 'of the model', 'GB moved*', 'compute s',
       'send s', 'step s', 'MFU', 'tokens/s**'), *map(row, all_needs)])
  yield '* bodies of loops once, as the compiler counts'
  yield '** of all its devices together, at best'


def _collectives(all_needs: Sequence[measure.Needs]) -> Iterator[str]:
  yield from _table([
      ('collectives a device', 'kind', 'count', 'GB sent'),
      *((x.name, kind, f'{count:,.0f}', f'{sent / _GB:.3f}')
        for x in all_needs
        for kind, (count, sent) in sorted(x.collectives.items()))])


def advice(all_needs: Sequence[measure.Needs], memory: measure.Fit,
           config: Mapping[str, Any]) -> Iterator[str]:
  """Yields ways to make a plan fit: the largest saving first, more chips last.

  Args:
    all_needs: the update first, then the engines' steps.
    memory: memory of the stage.
    config: config of the stage.
  """
  ways = [*_of_update(all_needs[0], memory, config),
          *_of_engines(memory, config)]
  for _, text in sorted(ways, reverse=True):
    yield text
  yield 'a topology with more chips, with mesh.fsdp as many times as large'


def _of_update(update: measure.Needs, memory: measure.Fit,
               config: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
  """Yields (about the bytes saved a device, the change), for the update."""
  mesh, now = config['mesh'], update.temporary
  state = update.held['parameters'] + update.held['optimiser']
  yield state / 2, (
      f'mesh.fsdp={mesh["fsdp"]} holds {state / _GB:.1f} GB of state a '
      f'device: {2 * mesh["fsdp"]} would hold {state / 2 / _GB:.1f}')
  if memory.peaks['update'] <= memory.hbm:
    return
  layers = config['model']['num_layers']
  if config['model'].get('remat', 'none') == 'none':
    yield now * (1 - 1 / layers), (
        'model.remat=full keeps one state a layer in place of all')
  ways = mesh['data'] * mesh['fsdp'] * mesh.get('expert', 1)
  rows = config['micro_rows']
  if rows > ways:
    yield now * (1 - ways / rows), (
        f'micro_rows={rows}: {ways} is the least for this mesh, with '
        f'about {now * ways / rows / _GB:.1f} of {now / _GB:.1f} GB of '
        'temporaries')
  else:
    yield now / 2, (
        f'micro_rows={rows} is the least already: a larger mesh.tensor '
        f'(now {mesh["tensor"]}), or rows of half the length, with about '
        f'{now / 2 / _GB:.1f} of {now / _GB:.1f} GB of temporaries')


def _of_engines(memory: measure.Fit, config: Mapping[str, Any]
               ) -> Iterator[tuple[float, str]]:
  """Yields the same for engines that are too large."""
  over = memory.peaks.get('rollout', 0) - memory.hbm
  if over > 0:
    slots = config['sampler']['slots']
    fewer = slots - max(memory.slots, 1)
    yield fewer * memory.slot, (
        f'sampler.slots={slots}: each one less saves {memory.slot / _GB:.2f} '
        f'GB, {over / _GB:.1f} GB are over' + (
            f'; {memory.slots} fit' if memory.slots > 0 else
            ': none fits. Make an engine larger (sampler_mesh)'))
