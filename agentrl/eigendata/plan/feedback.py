"""What a student fails at, so that the next corpus holds more of it.

Failures of an evaluation are clustered by demand family, by tool and by the
clause of the checker that failed. Families that fail more often are drawn more
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

LEAST = 0.25  # weight of a family that never fails; one that always does: 1.25
FAILED = (types.Outcome.FAILURE, types.Outcome.AGENT_LIMIT)


def read(folder: str | os.PathLike) -> dict[str, Any]:
  """The failures of a finished evaluation.

  User faults and what is not evaluated count neither for nor against.

  Returns:
    failed, counted: dialogues; families: domain -> family -> [failed, counted]
    of the dialogues whose task holds it; tools and clauses: how many dialogues
    failed with a gold call of that tool undone, or with that clause unmet
    (names and numbers left out); the most first.

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
  """Of a task of the benchmark the tools of its gold calls, for those are the
  families of new tasks for it (`Tau2Domain.aims`)."""
  return set(task.families) or {a.name for a in task.criteria.actions}


def _undone(task: types.Task, messages: Sequence[types.Message]) -> set[str]:
  """Tools of gold calls that the dialogue lacks."""
  fine = {m.id for m in messages if m.role == 'tool' and not m.error}
  done = [(c.name, dict(c.arguments)) for m in messages
          for c in m.tool_calls if c.id in fine]
  return {a.name for a in task.criteria.actions
          if (a.name, dict(a.arguments)) not in done}


def weigh(plans: Sequence[planner.Plan], found: Mapping[str, Any]
          ) -> list[planner.Plan]:
  """The plans, with weights for their combinations by what fails.

  A combination weighs the mean of its families, a family `LEAST` and the share
  of its dialogues that failed; a family never evaluated weighs as one that
  always fails.
  """
  def family(domain: str, name: str) -> float:
    failed, counted = found['families'].get(domain, {}).get(name, (1, 1))
    return LEAST + failed / counted
  return [dataclasses.replace(plan, emphasis=tuple(
      round(sum(family(plan.domain, f) for f in c) / len(c), 4)
      for c in plan.combinations)) for plan in plans]
