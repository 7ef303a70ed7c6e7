"""Reads figures of a data stage: funnel, certificates, evolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import difflib
import itertools
import json
import pathlib
from typing import Any, NamedTuple

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.report import plots

# In the order in which a sample passes them, see eigendata/write/workers.py.
WORKERS = ('RandomPool', 'UserIntent', 'TaskValidation', 'ValidationFunction',
           'Certificate', 'DialogSynthesis', 'TrajectoryValidation',
           'Duplicates')
MOST_LINES = 150  # of a diff
FIRST = 100  # certified tasks that the shown one is chosen from


class FunnelRow(NamedTuple):
  """A worker, the samples that pass it, and rejected samples by reason."""

  worker: str
  left: int
  lost: list[tuple[str, int]]


class PromptHistory(NamedTuple):
  """Revisions of the prompt of one role.

  Attributes:
    role: name of the role.
    diff: see `_diff`, of the first and the last text; [] if none was kept.
    revisions: records of its rounds, each with its `diff`.
  """

  role: str
  diff: list[tuple[str, str]]
  revisions: list[dict[str, Any]]


class StreamHistory(NamedTuple):
  """Evolution of one stream.

  Attributes:
    name: name of the stream.
    first: acceptance of its first audit.
    last: acceptance of its last audit.
    rounds: number of rounds.
    kept: number of revisions that were kept.
    tried: number of revisions that were tried.
    prompts: history of each role.
    notes: (round, reason) of rounds without a revision.
  """

  name: str
  first: float
  last: float
  rounds: int
  kept: int
  tried: int
  prompts: list[PromptHistory]
  notes: list[tuple[int, str]]


def read(folder: pathlib.Path) -> dict[str, Any]:
  """Reads the figures of a stage; {} if it has not finished.

  Returns:
    splits: figures of each split; sample: a task with its certificate, a
    repaired one if there is any, or None; cost: see
    `eigendata.scale.statistics.cost`, None if it was not counted; plans: split
    -> see `eigendata.plan.planner.overlaps`; evolution: see `evolution`, {}
    without rounds.
  """
  if not (folder / 'stats.json').exists():
    return {}
  tasks = (jsons.from_json(types.Task, line) for split in ('train', 'test')
           for line in _lines(folder / f'tasks_{split}.jsonl'))
  certified = list(itertools.islice((t for t in tasks if t.certificate), FIRST))
  manifest = folder / 'manifest.json'
  facts = files.read_json(manifest) if manifest.exists() else {}
  return {'splits': {split: figures for split, figures in files.read_json(
              folder / 'stats.json').items() if figures['tried']},
          'sample': max(certified, default=None,
                        key=lambda t: 'repaired' in t.meta),
          'cost': facts.get('cost'), 'plans': facts.get('plans', {}),
          'evolution': evolution(list(_lines(folder / 'rounds.jsonl')))}


def _lines(path: pathlib.Path) -> Iterator[Any]:
  if path.exists():
    yield from map(json.loads, path.read_text().splitlines())


def funnel(split: Mapping[str, Any]) -> list[FunnelRow]:
  """Returns a row for all samples, then one for each worker that rejects."""
  lost: dict[str, list[tuple[str, int]]] = {}
  for name, count in split['rejected'].items():
    worker, _, reason = name.partition(': ')
    lost.setdefault(worker, []).append((reason, count))
  left = split['tried']
  rows = [FunnelRow('Samples', left, [])]
  for worker in sorted(lost, key=_order):
    left -= sum(count for _, count in lost[worker])
    rows.append(FunnelRow(worker, left, lost[worker]))
  return rows


def nothing_kept(split: Mapping[str, Any]) -> str:
  """Says where most samples of a split without tasks were lost; else ''."""
  if split['kept']:
    return ''
  lost = {worker: sum(count for _, count in reasons)
          for worker, _, reasons in funnel(split)[1:]}
  worker = max(lost, key=lost.get)
  return (f'Nothing was kept. Of {split["tried"]} samples {lost[worker]} ended '
          f'at {worker}.')


def headline(splits: Mapping[str, Mapping[str, Any]]) -> str:
  """Says how many tasks there are, and how many lack a certificate."""
  kept, tried = (sum(s[k] for s in splits.values()) for k in ('kept', 'tried'))
  bare = sum(s['kept'] for s in splits.values() if not s['mutants']['total'])
  if kept and bare == kept:
    return f'{kept} tasks without certificates from {tried} samples'
  return (f'{kept - bare} certified tasks from {tried} samples'
          + f', and {bare} without certificates' * bool(bare))


def _order(worker: str) -> int:
  return WORKERS.index(worker) if worker in WORKERS else len(WORKERS)


def evolution(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Returns how the streams evolved.

  Args:
    rounds: records of `eigendata.evolve`.

  Returns:
    plots: (title, plot) by round, each a mean over streams; those that have
    ended keep their last value; streams: a `StreamHistory` each.
  """
  if not rounds:
    return {}
  streams: dict[str, list[Mapping[str, Any]]] = {}
  for record in rounds:
    streams.setdefault(record['stream'], []).append(record)
  rows = []
  for name, own in streams.items():
    tried = [r for r in own if 'after' in r]
    kept = [r for r in tried if r['accepted']]
    last = kept[-1]['after'] if kept else own[-1]['audit']
    rows.append(StreamHistory(
        name, own[0]['audit']['acceptance'], last['acceptance'], len(own),
        len(kept), len(tried), list(_prompts(tried)),
        [(r['round'], r['note']) for r in own if 'note' in r]))
  return {'plots': list(_curves(list(streams.values()))), 'streams': rows}


def _prompts(tried: Sequence[Mapping[str, Any]]) -> Iterator[PromptHistory]:
  """Yields the history of each role's prompt."""
  for role in dict.fromkeys(r['role'] for r in tried):
    own = [r for r in tried if r['role'] == role]
    last = [r['text'] for r in own if r['accepted']]
    yield PromptHistory(
        role, _diff(own[0]['before'], last[-1]) if last else [],
        [{**r, 'diff': _diff(r['before'], r['text'])} for r in own])


def _curves(streams: Sequence[Sequence[Mapping[str, Any]]]
            ) -> Iterator[tuple[str, Any]]:
  """Yields (title, plot) of each figure by round."""
  most = max(map(len, streams))
  def mean(value: Any) -> tuple[Sequence[int], list[float]]:
    means = []
    for i in range(most):
      values = [value(s[min(i, len(s) - 1)]) for s in streams]
      known = [x for x in values if x is not None]
      means.append(sum(known) / len(known) if known else float('nan'))
    return range(most), means
  # Tokens where nothing has a price.
  unit = 'dollars' if any(
      r['spent']['dollars'] for s in streams for r in s) else 'tokens'
  def depth(record: Mapping[str, Any]) -> float | None:
    counts = [n for n in record['audit']['mutants'] if n is not None]
    return sum(counts) / len(counts) if counts else None
  for title, series, percent in (
      ('Samples kept', {
          'audit': mean(lambda r: r['audit']['acceptance']),
          'pilot': mean(lambda r: r['pilot'])}, True),
      ('Dialogues that pass at first try',
       {'first try': mean(lambda r: r['first_try'])}, True),
      ('Variety: runs of three words not shared by two samples',
       {'variety': mean(lambda r: r['audit']['variety'])}, True),
      *([('Pass rate of the student',
          {'student': mean(lambda r: r['audit'].get('pass_rate'))}, True)]
        if any('pass_rate' in r['audit'] for s in streams for r in s) else []),
      ('Mutants a task is tested by', {'mutants': mean(depth)}, False),
      (f'{unit.capitalize()} a round and stream',
       {unit: mean(lambda r: r['spent'][unit])}, False)):
    yield title, plots.curves(title, series, percent=percent, over='round')


def _diff(before: str, after: str) -> list[tuple[str, str]]:
  """Returns (sign, line) of changed lines and of those around them."""
  lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(),
                                    n=2, lineterm=''))[3:]
  rest = len(lines) - MOST_LINES
  return [(line[:1], line[1:]) for line in lines[:MOST_LINES]] + [
      ('', f'and {rest} more lines, see rounds.jsonl')] * (rest > 0)
