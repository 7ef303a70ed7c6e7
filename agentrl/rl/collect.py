"""One batch of groups worth training on: play, judge, filter, refill."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from agentrl import types
from agentrl.envs import outcomes
from agentrl.rl import filters

Episodes = list[types.Episode]
Rules = Mapping[types.Outcome, outcomes.OutcomeRule]
Play = Callable[[Sequence[types.Task], Sequence[int]], Episodes]
REFILLS = 2  # how often lost episodes of a wave are played anew


@dataclasses.dataclass(frozen=True)
class Waves:
  """How many dialogues are played for a batch.

  Attributes:
    tasks: least number of groups of a full batch; further ones that pass in the
      last wave are kept too.
    group: episodes of a task.
    wave: tasks played at once; once some groups are kept, at most two for each
      missing one.
    max_waves: most waves to play.
  """

  tasks: int
  group: int
  wave: int
  max_waves: int


@dataclasses.dataclass
class Batch:
  """The groups to train on, and everything that was played for them.

  Attributes:
    groups: P lists of G episodes; P may be 0.
    reward_PG: reward of each episode of the groups.
    valid_PG: bool, episodes that enter the baseline.
    played: every episode, kept or not, for the metrics.
    dead: number of dropped groups by kind.
    shortage: why fewer groups than wanted were found; '' if enough were.
  """

  groups: list[Episodes]
  reward_PG: np.ndarray
  valid_PG: np.ndarray
  played: Episodes
  dead: collections.Counter
  shortage: str = ''


def collect(play: Play, tasks: Sequence[types.Task], key: jax.Array, *,
            waves: Waves, why_dead: filters.Filter, rules: Rules) -> Batch:
  """Plays waves of tasks until enough groups pass the filter.

  Episodes that are lost to infrastructure are played anew, with other seeds,
  before a group is looked at.

  Args:
    play: plays tasks with seeds, one episode each, in order.
    tasks: tasks to draw from, uniformly, without repeats within a wave.
    key: key of this step; the draw and the seeds are functions of it alone.
    waves: see `Waves`; after the last one the batch is as large as it is.
    why_dead: see `rl/filters.py`.
    rules: where episodes of each outcome count.
  """
  group, kept, played, dead = waves.group, [], [], collections.Counter()
  for i in range(waves.max_waves):
    missing = waves.tasks - len(kept)
    size = min(waves.wave, 2 * missing) if kept else waves.wave
    episodes = _wave(play, tasks, jax.random.fold_in(key, i), size, group,
                     rules=rules, played=played)
    reward_PG, valid_PG = _grid(episodes, group, rules)
    for p, kind in enumerate(why_dead(reward_PG, valid_PG)):
      if kind:
        dead[str(kind)] += 1
      else:
        kept.append(episodes[p * group:(p + 1) * group])
    if len(kept) >= waves.tasks:
      break
  episodes = [episode for group_ in kept for episode in group_]
  batch = Batch(kept, *_grid(episodes, group, rules), played, dead)
  if len(kept) < waves.tasks:
    batch.shortage = _shortage(batch, waves)
  return batch


def _wave(play: Play, tasks: Sequence[types.Task], key: jax.Array, size: int,
          group: int, *, rules: Rules, played: Episodes) -> Episodes:
  """Plays a wave of groups; adds everything that was played to `played`."""
  drawn, seeds = _draw(tasks, key, size, group)
  episodes = play(drawn, seeds)
  played += episodes
  for i in range(REFILLS):
    lost = [n for n, e in enumerate(episodes) if rules[e.outcome].refilled]
    if not lost:
      break
    fresh = _seeds(jax.random.fold_in(key, i + 1), len(drawn))
    again = play([drawn[n] for n in lost], [fresh[n] for n in lost])
    played += again
    for n, episode in zip(lost, again):
      episodes[n] = episode
  return episodes


def _shortage(batch: Batch, waves: Waves) -> str:
  """Describes why a batch has fewer groups than wanted, and how to mend it."""
  mean = np.mean([e.reward for e in batch.played])
  kind = max(batch.dead, key=batch.dead.get, default='')
  advice = {
      filters.ALL_PASS: 'The tasks have become too easy: stop here, or add '
                        'harder ones.',
      filters.ALL_FAIL: 'The tasks are too hard for this policy: train SFT '
                        'longer, add easier ones, or raise config.group.',
      filters.TOO_FEW: 'Most episodes do not count: look at the faults of '
                       'tools and infrastructure in metrics.jsonl.',
  }.get(kind, '')
  return (f'Only {len(batch.groups)} of {waves.tasks} groups were worth '
          f'training on after {waves.max_waves} waves of up to {waves.wave} '
          f'tasks; dropped: {dict(batch.dead)}. Mean reward {mean:.3f}. '
          f'{advice}')


def _draw(tasks: Sequence[types.Task], key: jax.Array, wave: int,
          group: int) -> tuple[list[types.Task], list[int]]:
  """Draws `wave` tasks, each `group` times, and a seed for each episode."""
  pick_key, seed_key = jax.random.split(key)
  picked = jax.random.permutation(pick_key, len(tasks))[:wave]
  drawn = [tasks[int(i)] for i in np.asarray(picked) for _ in range(group)]
  return drawn, _seeds(seed_key, len(drawn))


def _seeds(key: jax.Array, count: int) -> list[int]:
  seeds = jax.random.bits(key, (count,), 'uint32') >> 1
  return [int(s) for s in np.asarray(seeds)]


def _grid(episodes: Episodes, group: int, rules: Rules
         ) -> tuple[np.ndarray, np.ndarray]:
  """Returns reward_PG and valid_PG of groups that stand one after another."""
  reward_PG = np.array([e.reward for e in episodes], np.float32)
  valid_PG = np.array([rules[e.outcome].baseline for e in episodes], bool)
  return reward_PG.reshape(-1, group), valid_PG.reshape(-1, group)


def metrics(batch: Batch, rules: Rules) -> dict[str, Any]:
  """Returns the figures of all episodes that a step played."""
  episodes = batch.played
  count = len(episodes)
  by_outcome = collections.Counter(e.outcome for e in episodes)
  groups = max(1, len(batch.groups) + sum(batch.dead.values()))
  counted = [e.reward for e in episodes if rules[e.outcome].baseline]
  return {
      'reward_mean': float(np.mean(counted)) if counted else 0.0,
      'episodes': count, 'groups': len(batch.groups),
      'steps_mean': float(np.mean([e.steps for e in episodes])),
      'user_fault_share': sum(bool(e.user_fault) for e in episodes) / count,
      'rerolls_mean': sum(e.rerolls for e in episodes) / count,
      **{f'dead_{k}_share': batch.dead[k] / groups for k in filters.KINDS},
      **{f'outcome_{o}_share': by_outcome[o] / count for o in types.Outcome},
  }
