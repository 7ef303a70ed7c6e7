"""The numbers of a whole chain in one JSON, from the folders of its stages."""

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
  """Manifest of each stage that has one."""
  folder = pathlib.Path(workdir)
  return {stage: files.read_json(folder / stage / 'manifest.json')
          for stage in STAGES if (folder / stage / 'manifest.json').exists()}


def evaluations(workdir: str | os.PathLike) -> dict[str, dict[str, Any]]:
  """`metrics.json` of each evaluation that is finished, `sft` before `grpo`."""
  stages = finished(workdir)
  return {name: files.read_json(pathlib.Path(workdir, stage, 'metrics.json'))
          for name, stage in EVALUATIONS.items() if stage in stages}


def summarize(workdir: str | os.PathLike) -> dict[str, Any]:
  """What `summary.json` says.

  Returns:
    seconds (by stage), peak_memory_gib, sft and grpo (pass^k with intervals
    and user_fault_rate of each), delta (pass^1 of grpo minus sft, paired) with
    its interval, floors, gold, user_fault_rate, measurement, seed, versions.
    None where a stage has not finished; `delta_problem` says why there is no
    delta.
  """
  stages, found = finished(workdir), evaluations(workdir)
  latest = list(found.values())[-1] if found else {}
  peaks = [m['peak_memory_gib'] for m in stages.values()
           if 'peak_memory_gib' in m]
  return {
      'seconds': {name: stages[name]['seconds'] if name in stages else None
                  for name in STAGES},
      'peak_memory_gib': max(peaks, default=None),
      **{name: _reliability(found[name]) if name in found else None
         for name in EVALUATIONS},
      **_delta(workdir, found),
      **{name: latest.get(name)
         for name in ('num_tasks', 'num_trials', 'floors', 'gold',
                      'user_fault_rate', 'measurement', 'seed', 'versions')},
  }


def _reliability(found: Mapping[str, Any]) -> dict[str, Any]:
  return {name: value for name, value in found.items()
          if name.startswith(('pass^', 'user_fault_rate'))}


def _delta(workdir: str | os.PathLike,
           found: Mapping[str, Any]) -> dict[str, Any]:
  nothing = {'delta': None, 'delta_interval': None}
  if len(found) < len(EVALUATIONS):
    missing = [EVALUATIONS[n] for n in EVALUATIONS if n not in found]
    return {**nothing, 'delta_problem': f'{", ".join(missing)} not finished.'}
  try:
    deltas = results.compare(*(pathlib.Path(workdir, stage)
                                for stage in EVALUATIONS.values()))
  except ValueError as e:
    return {**nothing, 'delta_problem': str(e)}
  return deltas['pass^1'].to_json('delta')


def write(workdir: str | os.PathLike) -> dict[str, Any]:
  """Writes `summary.json` into the workdir and returns what it says."""
  found = summarize(workdir)
  files.write_json(pathlib.Path(workdir) / 'summary.json', found)
  return found
