"""Words results and figures for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import statistics
from typing import Any

LABELS = {'sft': 'SFT', 'grpo': 'GRPO'}
FLOORS = {'noop': 'doing nothing', 'refuse': 'refusing',
          'transfer': 'handing over'}


def percent(share: float | None) -> str:
  return 'none' if share is None else f'{100 * share:.1f}\u00a0%'


def points(share: float) -> str:
  return f'{100 * share:+.1f}'.replace('-', '\u2212')


def interval(ends: Sequence[float] | None) -> str:
  return '' if ends is None else f'{100 * ends[0]:.1f} to {100 * ends[1]:.1f}'


def seconds(value: float) -> str:
  if value < 100:
    return f'{value:.0f} s'
  return f'{value / 60:.1f} min' if value < 6000 else f'{value / 3600:.1f} h'


def dollars(value: float) -> str:
  return f'${value:,.2f}' if value >= 1 else f'${value:.4f}'


def price(cost: Mapping[str, Any]) -> str:
  """Words the price of a kept task: tokens and, if they have one, dollars."""
  paid = cost['dollars_per_task']
  return (f'{cost["tokens_per_task"]:,} tokens'
          + (f', {dollars(paid)}' if paid else ''))


def counts(figures: Mapping[str, int]) -> str:
  return ', '.join(f'{name}: {count}' for name, count in figures.items())


def spread(lengths: Sequence[int]) -> str:
  if not lengths:
    return 'none'
  return f'median {statistics.median(lengths):.0f}, longest {max(lengths)}'


def words(name: str) -> str:
  return str(name).replace('_', ' ').capitalize()


def headline(summary: Mapping[str, Any]) -> str:
  """Words the result in one sentence."""
  runs = [(label, percent(summary[name]['pass^1']))
          for name, label in LABELS.items() if summary[name]]
  if not runs:
    return 'This chain has not been evaluated yet.'
  tasks = f'{summary["num_tasks"]} held-out tasks'
  if summary['delta'] is None:
    listed = ' and '.join(f'{value} after {name}' for name, value in runs)
    return f'pass^1 on {tasks} is {listed}.'
  (_, before), (_, after) = runs
  low, high = summary['delta_interval']
  if low <= 0 <= high:
    return (f'GRPO leaves pass^1 on {tasks} as it was, as far as one can tell: '
            f'{before} before, {after} after.')
  return (f'GRPO {"raises" if low > 0 else "lowers"} pass^1 on {tasks} by '
          f'{100 * abs(summary["delta"]):.1f} points, from {before} after SFT '
          f'to {after}.')


def sentences(summary: Mapping[str, Any]) -> Iterator[str]:
  """Yields sentences that a reader needs to judge the headline."""
  if summary['delta'] is not None:
    low, high = summary['delta_interval']
    yield (f'The 95 % interval of the paired difference is {points(low)} to '
           f'{points(high)} points.')
  elif summary['sft'] and summary['grpo']:
    yield summary['delta_problem']
  if summary['floors']:
    listed = ', '.join(f'{FLOORS[name]} {percent(value)}'
                       for name, value in summary['floors'].items())
    yield f'What giving up at once would earn on the same tasks: {listed}.'
    if summary['gold'] < 1:
      yield (f'Beware: gold actions themselves earn {percent(summary["gold"])} '
             'only, so a limit of the dialogue or some tasks are at fault.')
  if summary['user_fault_rate'] is not None:
    yield (f'In {percent(summary["user_fault_rate"])} of the dialogues the '
           'user model was at fault.')


def table(summary: Mapping[str, Any]) -> str:
  """Formats the summary for a terminal, 80 columns wide."""
  runs = {label: summary[name] for name, label in LABELS.items()
          if summary[name]}
  if not runs:
    return 'Nothing has been evaluated yet.'
  rows = [['', *runs]]
  for k in range(1, summary['num_trials'] + 1):
    rows.append([f'pass^{k}', *(
        f'{percent(run[f"pass^{k}"])} ({interval(run[f"pass^{k}_interval"])})'
        for run in runs.values())])
  rows.append(['user faults', *(percent(run['user_fault_rate'])
                                for run in runs.values())])
  if summary['delta'] is not None:
    low, high = map(points, summary['delta_interval'])
    rows[0].append('difference')
    rows[1].append(f'{points(summary["delta"])} ({low} to {high})')
  rows += [[FLOORS[name], percent(value)]
           for name, value in summary['floors'].items()]
  return '\n'.join(
      (f'{row[0]:14}' + ''.join(f'{cell:22}' for cell in row[1:])).rstrip()
      for row in rows)
