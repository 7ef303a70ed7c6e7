"""What the report shows of a data stage: funnel, certificates, evolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import difflib
import itertools
import json
import pathlib
from typing import Any

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.report import plots

# In the order in which a sample passes them, see eigendata/workers.py.
WORKERS = ('RandomPool', 'UserIntent', 'TaskValidation', 'ValidationFunction',
           'Certificate', 'DialogSynthesis', 'TrajectoryValidation',
           'Duplicates')
MOST_LINES = 150  # of a diff
FIRST = 100  # certified tasks, of which one is shown


def read(folder: pathlib.Path) -> dict[str, Any]:
  """All that is shown of a stage; {} if it has not finished.

  Returns:
    splits: the figures of each; sample: a task with its certificate, one that
    was mended if there is any, or None; cost: see `eigendata.statistics.cost`,
    None if nobody counted; plans: split -> see `eigendata.planner.overlaps`;
    evolution: see `evolution`, {} without rounds.
  """
  if not (folder / 'stats.json').exists():
    return {}
  tasks = (jsons.from_json(types.Task, line) for split in ('train', 'test')
           for line in _lines(folder / f'tasks_{split}.jsonl'))
  certified = list(itertools.islice((t for t in tasks if t.certificate), FIRST))
  manifest = folder / 'manifest.json'
  facts = files.read_json(manifest) if manifest.exists() else {}
  return {'splits': {split: found for split, found in files.read_json(
              folder / 'stats.json').items() if found['tried']},
          'sample': max(certified, default=None,
                        key=lambda t: 'repaired' in t.meta),
          'cost': facts.get('cost'), 'plans': facts.get('plans', {}),
          'evolution': evolution(list(_lines(folder / 'rounds.jsonl')))}


def _lines(path: pathlib.Path) -> Iterator[Any]:
  if path.exists():
    yield from map(json.loads, path.read_text().splitlines())


def funnel(split: Mapping[str, Any]
           ) -> list[tuple[str, int, list[tuple[str, int]]]]:
  """(worker, samples that pass it, [(reason, samples that it rejects)]).

  Only workers that rejected something; all samples come first.
  """
  lost: dict[str, list[tuple[str, int]]] = {}
  for name, count in split['rejected'].items():
    worker, _, reason = name.partition(': ')
    lost.setdefault(worker, []).append((reason, count))
  left = split['tried']
  rows = [('Samples', left, [])]
  for worker in sorted(lost, key=_place):
    left -= sum(count for _, count in lost[worker])
    rows.append((worker, left, lost[worker]))
  return rows


def nothing_kept(split: Mapping[str, Any]) -> str:
  """Where most samples of a split were lost that kept none; else ''."""
  if split['kept']:
    return ''
  lost = {worker: sum(count for _, count in reasons)
          for worker, _, reasons in funnel(split)[1:]}
  worker = max(lost, key=lost.get)
  return (f'Nothing was kept. Of {split["tried"]} samples {lost[worker]} ended '
          f'at {worker}.')


def headline(splits: Mapping[str, Mapping[str, Any]]) -> str:
  """How many tasks there are, and how many of them without a certificate."""
  kept, tried = (sum(s[k] for s in splits.values()) for k in ('kept', 'tried'))
  bare = sum(s['kept'] for s in splits.values() if not s['mutants']['total'])
  if kept and bare == kept:
    return f'{kept} tasks without certificates from {tried} samples'
  return (f'{kept - bare} certified tasks from {tried} samples'
          + f', and {bare} without certificates' * bool(bare))


def _place(worker: str) -> int:
  return WORKERS.index(worker) if worker in WORKERS else len(WORKERS)


def evolution(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """How the streams evolved; see `eigendata.evolve` for a round's record.

  Returns:
    plots: (title, plot) by round, each a mean over streams of which those that
    have ended keep their last value; streams: (name, first audit, last audit,
    rounds, revisions kept, revisions tried, prompts, notes): `prompts` are
    (role, diff of the first and the last text, revisions with their diffs),
    `notes` (round, why it had no revision).
  """
  if not rounds:
    return {}
  streams: dict[str, list[Mapping[str, Any]]] = {}
  for record in rounds:
    streams.setdefault(record['stream'], []).append(record)
  rows = []
  for name, found in streams.items():
    tried = [r for r in found if 'after' in r]
    kept = [r for r in tried if r['accepted']]
    last = kept[-1]['after'] if kept else found[-1]['audit']
    rows.append((name, found[0]['audit']['acceptance'], last['acceptance'],
                 len(found), len(kept), len(tried), list(_prompts(tried)),
                 [(r['round'], r['note']) for r in found if 'note' in r]))
  return {'plots': list(_curves(list(streams.values()))), 'streams': rows}


def _prompts(tried: Sequence[Mapping[str, Any]]
             ) -> Iterator[tuple[str, list[Any], list[dict[str, Any]]]]:
  """Of each role: what became of its prompt, and every revision."""
  for role in dict.fromkeys(r['role'] for r in tried):
    own = [r for r in tried if r['role'] == role]
    last = [r['text'] for r in own if r['accepted']]
    yield (role, _diff(own[0]['before'], last[-1]) if last else [],
           [{**r, 'diff': _diff(r['before'], r['text'])} for r in own])


def _curves(streams: Sequence[Sequence[Mapping[str, Any]]]
            ) -> Iterator[tuple[str, Any]]:
  most = max(map(len, streams))
  def mean(value: Any) -> tuple[Sequence[int], list[float]]:
    means = []
    for i in range(most):
      found = [value(s[min(i, len(s) - 1)]) for s in streams]
      found = [x for x in found if x is not None]
      means.append(sum(found) / len(found) if found else float('nan'))
    return range(most), means
  # Where nothing has a price, tokens are what counts.
  unit = 'dollars' if any(
      r['spent']['dollars'] for s in streams for r in s) else 'tokens'
  def depth(record: Mapping[str, Any]) -> float | None:
    found = [n for n in record['audit']['mutants'] if n is not None]
    return sum(found) / len(found) if found else None
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
  """(sign, line) of what was changed and the lines around it."""
  lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(),
                                    n=2, lineterm=''))[3:]
  rest = len(lines) - MOST_LINES
  return [(line[:1], line[1:]) for line in lines[:MOST_LINES]] + [
      ('', f'and {rest} more lines, see rounds.jsonl')] * (rest > 0)
