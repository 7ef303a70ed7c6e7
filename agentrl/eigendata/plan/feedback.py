"""Weights the next corpus by the failures of a student.

Failures of an evaluation are grouped by demand family, by tool and by the
failed clause of the checker. Families that fail more often are drawn more
often; one that never fails is still drawn, or it would be forgotten.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
import dataclasses
import json
import os
import pathlib
import re
from typing import Any

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata.plan import planner
from agentrl.envs import load as env_load
from agentrl.stage import inputs

LEAST = 0.25  # weight of a family that never fails; 1.25 if it always does
FAILED = (types.Outcome.FAILURE, types.Outcome.AGENT_LIMIT)


def read(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads the failures of a finished evaluation.

  User faults and outcomes that are not evaluated are left out.

  Returns:
    failed, counted: numbers of dialogues; families: domain -> family ->
    [failed, counted] of the dialogues with a task of that family; tools and
    clauses: number of failed dialogues in which a gold call of that tool was
      not
    made, or that clause not met (names and numbers left out); the most first.

  Raises:
    ValueError: no finished evaluation, or its tasks are gone.
  """
  folder = pathlib.Path(folder)
  facts = inputs.manifest(folder, 'feedback')
  if facts['stage'] != 'eval':
    raise ValueError(f'config.feedback={str(folder)!r} is a stage '
                     f'{facts["stage"]!r}: give the folder of an evaluation.')
  config = files.read_json(folder / 'config.json')['config']
  split = config['split']
  judged = (episodes.tasks(config['data'], split, 'feedback')
            if config['data'] else
            env_load.load_many(config['domains'], config['env']).tasks(split))
  tasks = {(t.domain, t.id): t for t in judged}
  families: dict[str, dict[str, list[int]]] = collections.defaultdict(
      lambda: collections.defaultdict(lambda: [0, 0]))
  tools, clauses = collections.Counter(), collections.Counter()
  counted = failed = 0
  for line in (folder / 'transcripts.jsonl').read_text().splitlines():
    record = json.loads(line)
    task = tasks[record.pop('domain'), record['task_id']]
    episode = jsons.from_json(types.Episode, record)
    if episode.outcome not in (types.Outcome.SUCCESS, *FAILED):
      continue
    bad = episode.outcome in FAILED
    counted, failed = counted + 1, failed + bad
    for name in _families(task):
      families[task.domain][name][0] += bad
      families[task.domain][name][1] += 1
    if bad:
      tools.update(_undone(task, episode.messages))
      clauses.update({re.sub(r"[\w'-]*[-\d][\w'-]*", '*', clause)
                      for clause, ok in episode.score.clauses.items()
                      if not ok})
  return {'failed': failed, 'counted': counted,
          'families': {k: dict(v) for k, v in families.items()},
          'tools': dict(tools.most_common()),
          'clauses': dict(clauses.most_common())}


def _families(task: types.Task) -> set[str]:
  """Returns the families of a task; of the benchmark's, the tools of its gold
  calls, which are the families of new tasks (`Tau2Domain.demand_tools`)."""
  return set(task.families) or {a.name for a in task.criteria.actions}


def _undone(task: types.Task, messages: Sequence[types.Message]) -> set[str]:
  """Returns the tools of gold calls that a dialogue lacks."""
  accepted = {m.id for m in messages if m.role == 'tool' and not m.error}
  done = [(c.name, dict(c.arguments)) for m in messages
          for c in m.tool_calls if c.id in accepted]
  return {a.name for a in task.criteria.actions
          if (a.name, dict(a.arguments)) not in done}


def weigh(plans: Sequence[planner.Plan], failures: Mapping[str, Any]
          ) -> list[planner.Plan]:
  """Returns the plans with weights for their combinations.

  A combination weighs as the mean of its families, a family `LEAST` plus the
  share of its dialogues that failed; a family that was never evaluated weighs
  as one that always fails.

  Args:
    plans: plans to weigh.
    failures: failures of a student, see `read`.
  """
  def family(domain: str, name: str) -> float:
    failed, counted = failures['families'].get(domain, {}).get(name, (1, 1))
    return LEAST + failed / counted
  return [dataclasses.replace(plan, emphasis=tuple(
      round(sum(family(plan.domain, f) for f in c) / len(c), 4)
      for c in plan.combinations)) for plan in plans]
