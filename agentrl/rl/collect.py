"""One batch of groups worth training on: play, judge, filter, refill."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from agentrl import types
from agentrl.envs import outcomes
from agentrl.rl import filters

Episodes = list[types.Episode]


class GroupsDied(ValueError):
  """The batch could not be filled within the bound on tries."""


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
    groups: P lists of G episodes.
    reward_PG: reward of each episode of the groups.
    valid_PG: bool, episodes that enter the baseline.
    played: every episode, kept or not, for the metrics.
    dead: number of dropped groups by kind.
  """

  groups: list[Episodes]
  reward_PG: np.ndarray
  valid_PG: np.ndarray
  played: Episodes
  dead: collections.Counter


def collect(play: Callable[[Sequence[types.Task], Sequence[int]], Episodes],
            tasks: Sequence[types.Task], key: jax.Array, *, waves: Waves,
            why_dead: filters.Filter) -> Batch:
  """Plays waves of tasks until enough groups pass the filter.

  Args:
    play: plays tasks with seeds, one episode each, in order.
    tasks: to draw from, uniformly, without repeats within a wave.
    key: random key of the step; draw and seeds are functions of it alone.
    waves: see `Waves`.
    why_dead: see `rl/filters.py`.

  Raises:
    GroupsDied: `max_waves` did not fill the batch; says why groups died.
  """
  group, kept, rewards, valids, played = waves.group, [], [], [], []
  dead = collections.Counter()
  for i in range(waves.max_waves):
    missing = waves.tasks - len(kept)
    size = min(waves.wave, 2 * missing) if kept else waves.wave
    drawn, seeds = _draw(tasks, jax.random.fold_in(key, i), size, group)
    episodes = play(drawn, seeds)
    played += episodes
    reward_PG, valid_PG = _grid(episodes, group)
    for p, kind in enumerate(why_dead(reward_PG, valid_PG)):
      if kind:
        dead[str(kind)] += 1
      else:
        kept.append(episodes[p * group:(p + 1) * group])
        rewards.append(reward_PG[p])
        valids.append(valid_PG[p])
    if len(kept) >= waves.tasks:
      return Batch(kept, np.stack(rewards), np.stack(valids), played, dead)
  mean = np.mean([e.reward for e in played])
  raise GroupsDied(
      f'Only {len(kept)} of {waves.tasks} groups were worth training on after '
      f'{waves.max_waves} waves of up to {waves.wave} tasks; dropped: '
      f'{dict(dead)}. '
      f'Mean reward {mean:.3f}. ' + _advice(dead))


def _advice(dead: collections.Counter) -> str:
  kind = max(dead, key=dead.get, default='')
  return {
      filters.ALL_PASS: 'The tasks have become too easy: stop here, or add '
                        'harder ones.',
      filters.ALL_FAIL: 'The tasks are too hard for this policy: train SFT '
                        'longer, add easier ones, or raise config.group.',
      filters.TOO_FEW: 'Most episodes do not count: look at the faults of the '
                       'user and of the infrastructure in metrics.jsonl.',
  }.get(kind, '')


def _draw(tasks: Sequence[types.Task], key: jax.Array, wave: int,
          group: int) -> tuple[list[types.Task], list[int]]:
  """Draws `wave` tasks, each `group` times, and a seed for each episode."""
  pick_key, seed_key = jax.random.split(key)
  picked = jax.random.permutation(pick_key, len(tasks))[:wave]
  drawn = [tasks[int(i)] for i in np.asarray(picked) for _ in range(group)]
  seeds = jax.random.bits(seed_key, (len(drawn),), 'uint32') >> 1
  return drawn, [int(s) for s in np.asarray(seeds)]


def _grid(episodes: Episodes, group: int) -> tuple[np.ndarray, np.ndarray]:
  reward_PG = np.array([e.reward for e in episodes], np.float32)
  valid_PG = np.array([outcomes.RULES[e.outcome].baseline for e in episodes])
  return reward_PG.reshape(-1, group), valid_PG.reshape(-1, group)


def metrics(batch: Batch) -> dict[str, Any]:
  """Returns the metrics of all episodes that a step has played."""
  episodes = batch.played
  count = len(episodes)
  by_outcome = collections.Counter(e.outcome for e in episodes)
  groups = len(batch.groups) + sum(batch.dead.values())
  counted = [e.reward for e in episodes if outcomes.RULES[e.outcome].baseline]
  return {
      'reward_mean': float(np.mean(counted)) if counted else 0.0,
      'episodes': count,
      'steps_mean': float(np.mean([e.steps for e in episodes])),
      **{f'dead_{k}_share': batch.dead[k] / groups for k in filters.KINDS},
      **{f'outcome_{o}_share': by_outcome[o] / count for o in types.Outcome},
  }
