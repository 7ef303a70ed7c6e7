"""Summarizes an evaluation: `metrics.json`, and every dialogue beside it.

`transcripts.jsonl` holds one episode a line: the JSON of `types.Episode`, and
its `domain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.envs import outcomes
from agentrl.eval import passk
from agentrl.eval import stats

# Breakdowns of `metrics.json`; tasks without a value are left out.
GROUPS: dict[str, Callable[[types.Task], Any]] = {
    'domain': lambda task: task.domain,
    'kind': lambda task: task.kind,
    'demands': lambda task: len(task.demands or task.families),
}


def task_name(domain: str, task_id: str) -> str:
  """Names a task among those of all domains."""
  return f'{domain}/{task_id}'


def summarize(tasks: Sequence[types.Task], episodes: Sequence[types.Episode],
              *, scripts: Mapping[str, Sequence[float]]) -> dict[str, Any]:
  """Returns the figures of `metrics.json` about the dialogues.

  Args:
    tasks: P tasks.
    episodes: P * G episodes; the trials of a task stand side by side.
    scripts: reward of each task under noop, refuse, transfer and gold.

  Returns:
    plain JSON. `pass^k` has its 95 % interval in `pass^k_interval`; where
    outcomes are left out of the evaluation (`excluded`), a task may have too
    few trials for a k, and `left_out` counts these. `with_excluded` is pass^1
    with them as failures; `db_only`, where the environment knows it, is the
    share of dialogues with the right database at the end. `repeats` says how
    far the trials of a task agree, see `stats.Repeats`.

  Raises:
    ValueError: no tasks, two of one name, or unequal numbers of trials.
  """
  names = [task_name(task.domain, task.id) for task in tasks]
  trials, odd = divmod(len(episodes), max(1, len(tasks)))
  if odd or not trials or len(set(names)) < len(names):
    raise ValueError(
        f'{len(episodes)} episodes of {len(tasks)} tasks with {len(set(names))}'
        ' names: each task needs one name and the same number of trials.')
  count = lambda test: np.array([test(e.outcome) for e in episodes]).reshape(
      -1, trials).sum(axis=1)
  success_P = count(lambda outcome: outcome == types.Outcome.SUCCESS)
  db_P = _database(episodes, trials)
  fault_P = count(lambda outcome: outcome == types.Outcome.USER_FAULT)
  trials_P = count(lambda outcome: outcomes.RULES[outcome].evaluated)
  rewards = {name: np.asarray(values) for name, values in scripts.items()}
  part = lambda rows: {
      **_part(success_P[rows], trials_P[rows], trials, {
          name: values[rows] for name, values in rewards.items()}),
      **_beside_pass_1(success_P[rows] / trials, db_P[rows], trials_P[rows])}
  share_P = fault_P / np.maximum(trials_P, 1)
  return {
      **part(np.arange(len(tasks))), 'num_trials': trials,
      'outcomes': {str(o): sum(e.outcome == o for e in episodes)
                   for o in types.Outcome},
      'excluded': len(episodes) - int(trials_P.sum()),
      **stats.share(share_P, trials_P).to_json('user_fault_rate'),
      'by': {group: {value: part(rows) for value, rows in _split(tasks, label)}
             for group, label in GROUPS.items()},
      'tasks': {name: [int(c), int(n)]
                for name, c, n in zip(names, success_P, trials_P)},
  }


def _split(tasks: Sequence[types.Task], label: Callable[[types.Task], Any]
          ) -> Iterator[tuple[str, np.ndarray]]:
  """Yields (value, indices of the tasks that have it)."""
  labels = [label(task) for task in tasks]
  for value in sorted(filter(None, set(labels))):
    yield str(value), np.array([i for i, x in enumerate(labels) if x == value])


def _database(episodes: Sequence[types.Episode], trials: int) -> np.ndarray:
  """Returns the share of trials of each task with the right database.

  NaN where it is not known for any trial.
  """
  known_PG = np.array([
      outcomes.RULES[e.outcome].evaluated and e.score.db is not None
      for e in episodes]).reshape(-1, trials)
  right_PG = np.array([e.score.db or 0.0 for e in episodes]).reshape(
      -1, trials) * known_PG
  count_P = known_PG.sum(axis=1)
  return np.where(count_P, right_PG.sum(axis=1) / np.maximum(count_P, 1),
                  np.nan)


def _beside_pass_1(share_P: np.ndarray, db_P: np.ndarray,
                   trials_P: np.ndarray) -> dict[str, Any]:
  """Returns pass^1 with excluded trials as failures, and by database alone."""
  figures = stats.share(share_P).to_json('with_excluded')
  if not np.isnan(db_P).all():
    figures |= stats.share(db_P, trials_P).to_json('db_only')
  return figures


def _part(success_P: np.ndarray, trials_P: np.ndarray, trials: int,
          rewards: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Returns the reliability on some tasks, and the rewards of scripts there."""
  figures: dict[str, Any] = {'num_tasks': len(success_P)}
  for k in range(1, trials + 1):
    for name, fn in (('pass^', passk.pass_hat_k), ('pass@', passk.pass_at_k)):
      estimate = stats.share(fn(success_P, trials_P, k))
      figures |= estimate.to_json(f'{name}{k}')
  figures['left_out'] = {f'pass^{k}': int((trials_P < k).sum())
                         for k in range(1, trials + 1)}
  figures['repeats'] = dataclasses.asdict(
      stats.repeats(success_P, trials_P))
  # A script whose dialogue is not evaluated (see floors.py) is unknown there.
  means = {name: None if np.isnan(values).all() else float(np.nanmean(values))
           for name, values in rewards.items()}
  figures['gold'] = means.pop('gold')
  figures['floors'] = means
  return figures


def write(folder: pathlib.Path, tasks: Sequence[types.Task],
          episodes: Sequence[types.Episode], figures: Mapping[str, Any]
          ) -> None:
  """Writes the files of an evaluation.

  Args:
    folder: existing folder.
    tasks: see `summarize`.
    episodes: see `summarize`.
    figures: for `metrics.json`.
  """
  trials = len(episodes) // len(tasks)
  files.write_lines(folder / 'transcripts.jsonl', (
      jsons.dumps({'domain': tasks[i // trials].domain,
                   **jsons.to_json(episode)})
      for i, episode in enumerate(episodes)))
  files.write_json(folder / 'metrics.json', figures)


def read_transcripts(folder: str | os.PathLike
                     ) -> Iterator[tuple[str, types.Episode]]:
  """Yields (name of the task, episode) of every dialogue of an evaluation."""
  with open(pathlib.Path(folder) / 'transcripts.jsonl') as file:
    for line in file:
      record = json.loads(line)
      domain = record.pop('domain')
      episode = jsons.from_json(types.Episode, record)
      yield task_name(domain, episode.task_id), episode


def compare(folder_a: str | os.PathLike, folder_b: str | os.PathLike
            ) -> dict[str, stats.Estimate]:
  """Estimates the paired difference b - a of pass^k, for each k.

  Args:
    folder_a: folder of an evaluation.
    folder_b: folder of another one, on the same tasks.

  Raises:
    ValueError: they did not measure the same thing, or are not finished.
  """
  a, b = (files.read_json(pathlib.Path(folder) / 'metrics.json')
          for folder in (folder_a, folder_b))
  stats.check_comparable(a, b)
  return {
      f'pass^{k}': stats.difference(_pass_k_of_tasks(a, k),
                                    _pass_k_of_tasks(b, k))
      for k in range(1, a['num_trials'] + 1)}


def _pass_k_of_tasks(figures: Mapping[str, Any], k: int) -> dict[str, float]:
  """Returns pass^k of each task by its name."""
  counts = np.array(list(figures['tasks'].values()), int)
  value_P = passk.pass_hat_k(counts[:, 0], counts[:, 1], k)
  return dict(zip(figures['tasks'], value_P.tolist()))
