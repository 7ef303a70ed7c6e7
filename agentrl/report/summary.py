"""Collects the numbers of a whole chain in one JSON."""

from __future__ import annotations

from collections.abc import Mapping
import os
import pathlib
from typing import Any

from agentrl import files
from agentrl.eval import results

STAGES = ('data', 'tokenizer', 'user_sft', 'agent_sft', 'eval_sft', 'grpo',
          'eval_grpo')
EVALUATIONS = {'sft': 'eval_sft', 'grpo': 'eval_grpo'}


def finished(workdir: str | os.PathLike) -> dict[str, dict[str, Any]]:
  """Reads the manifest of each finished stage."""
  folder = pathlib.Path(workdir)
  return {stage: files.read_json(folder / stage / 'manifest.json')
          for stage in STAGES if (folder / stage / 'manifest.json').exists()}


def evaluations(workdir: str | os.PathLike) -> dict[str, dict[str, Any]]:
  """Reads `metrics.json` of each finished evaluation, `sft` before `grpo`."""
  stages = finished(workdir)
  return {name: files.read_json(pathlib.Path(workdir, stage, 'metrics.json'))
          for name, stage in EVALUATIONS.items() if stage in stages}


def summarize(workdir: str | os.PathLike) -> dict[str, Any]:
  """Returns the content of `summary.json`.

  Returns:
    seconds (by stage), peak_memory_gib, sft and grpo (pass^k with intervals
    and user_fault_rate of each), delta (pass^1 of grpo minus sft, paired) with
    its interval, floors, gold, user_fault_rate, measurement, seed, versions.
    None where a stage has not finished; `delta_problem` says why delta is
    missing.
  """
  stages, measured = finished(workdir), evaluations(workdir)
  latest = list(measured.values())[-1] if measured else {}
  peaks = [m['peak_memory_gib'] for m in stages.values()
           if 'peak_memory_gib' in m]
  return {
      'seconds': {name: stages[name]['seconds'] if name in stages else None
                  for name in STAGES},
      'peak_memory_gib': max(peaks, default=None),
      **{name: _reliability(measured[name]) if name in measured else None
         for name in EVALUATIONS},
      **_delta(workdir, measured),
      **{name: latest.get(name)
         for name in ('num_tasks', 'num_trials', 'floors', 'gold',
                      'user_fault_rate', 'measurement', 'seed', 'versions')},
  }


def _reliability(figures: Mapping[str, Any]) -> dict[str, Any]:
  return {name: value for name, value in figures.items()
          if name.startswith(('pass^', 'user_fault_rate'))}


def _delta(workdir: str | os.PathLike,
           measured: Mapping[str, Any]) -> dict[str, Any]:
  unknown = {'delta': None, 'delta_interval': None}
  if len(measured) < len(EVALUATIONS):
    missing = [EVALUATIONS[n] for n in EVALUATIONS if n not in measured]
    return {**unknown, 'delta_problem': f'{", ".join(missing)} not finished.'}
  try:
    deltas = results.compare(*(pathlib.Path(workdir, stage)
                                for stage in EVALUATIONS.values()))
  except ValueError as e:
    return {**unknown, 'delta_problem': str(e)}
  return deltas['pass^1'].to_json('delta')


def write(workdir: str | os.PathLike) -> dict[str, Any]:
  """Writes `summary.json` into the workdir; returns its content."""
  summary = summarize(workdir)
  files.write_json(pathlib.Path(workdir) / 'summary.json', summary)
  return summary
