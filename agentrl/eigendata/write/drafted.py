"""Demands from the drafts of a domain: its own tasks.py.

RandomPool draws a caller, and drafts that fit the caller's records. UserIntent
(role `intent`) words the user's instructions. The exchange of a draft is the
one that the policy asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import random
import re

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata import source
from agentrl.eigendata.plan import planner
from agentrl.eigendata.write import script
from agentrl.envs import domain

TRIES = 40  # callers and orders of families, until a combination fits
OTHERS = 6  # names of other entities that a sample shows


class DraftedTasks:
  """`source.TaskSource` of a domain with a tasks.py."""

  role = 'intent'
  way_known = True
  separable = True
  attempts = 1

  def __init__(self, env: domain.Domain):
    self.env = env

  def families(self) -> list[str]:
    return [family.__name__ for family in self.env.drafts.FAMILIES]

  def draw(self, plan: planner.Plan, seed: int, *, database: int,
           other_share: float) -> source.Draw:
    rng = random.Random(seed)
    wants_other = rng.random() < other_share
    start = self.env.initial_state(database, plan.split)
    blank = types.Task('', self.env.name, '', initial_state=start)
    callers, entities = _people(self.env, database, plan.split)
    for _ in range(TRIES):
      names = rng.choices(plan.combinations, plan.emphasis or None)[0]
      names = rng.sample(names, len(names))
      caller, world = rng.choice(callers), self.env.start(blank)
      drafts = _draft(self.env, world, caller, names, rng)
      if drafts and (script.task_kind(drafts) != 'do') == wants_other:
        knowledge, opening = self.env.drafts.opening(world.state, caller)
        return source.Draw(
            plan, start, knowledge, tuple(opening), drafts,
            tuple(rng.sample(entities, min(OTHERS, len(entities)))))
    raise rejection.SampleRejected(
        types.Worker.RANDOM_POOL, 'no caller fits', plan.id)

  def intent(self, writer: prompts.Writer, draw: source.Draw,
             attempt: source.Attempt) -> tuple[source.Draw, source.Intent]:
    payload = {'knowledge': draw.knowledge,
               'style': planner.STYLES[draw.plan.style],
               'drafts': [{k: getattr(d, k) for k in (
                   'goal', 'about', 'answers', 'kind')} for d in draw.drafts],
               'others': draw.others}
    value = writer.write('intent', payload, attempt.seed(attempt.purpose))
    drafts = dict(enumerate(draw.drafts))
    if not value['demands'] or any(
        d['draft'] not in drafts for d in value['demands']):
      raise rejection.SampleRejected(
          types.Worker.USER_INTENT, 'no such draft', repr(value['demands']))
    demands = tuple(dataclasses.replace(drafts[d['draft']], goal=d['goal'])
                    for d in value['demands'])
    return draw, source.Intent(value['scenario'], demands,
                               script.joined(draw.opening, demands))

  def review(self, writer: prompts.Writer, task: types.Task, seed: int) -> None:
    """Does nothing: drafts are part of the domain."""


@functools.lru_cache(maxsize=256)
def _people(env: domain.Domain, database: int, split: str
            ) -> tuple[list[str], list[str]]:
  """Returns the callers, and the names of all entities."""
  start = env.initial_state(database, split)
  state = env.start(types.Task('', env.name, '', initial_state=start)).state
  keys = {k for rows in env.tables(**start).values() for k in rows
          if re.fullmatch(env.entity or '.+', k)}
  return list(env.drafts.callers(state)), sorted(keys)


def _draft(env: domain.Domain, world: domain.DomainWorld, caller: str,
           names: Sequence[str], rng: random.Random
           ) -> tuple[domain.Demand, ...]:
  """Drafts demands one after another, each on the state that the last leaves;
  () if one of them does not suit the caller."""
  families = {f.__name__: f for f in env.drafts.FAMILIES}
  drafts: list[domain.Demand] = []
  for name in names:
    demand = families[name](world.state, caller, rng)
    handed_over = drafts and drafts[-1].kind == 'transfer'
    if demand is None or handed_over:
      return ()
    for beat in demand.beats:
      if beat.call:
        world.execute([types.ToolCall(
            beat.call, beat.arguments, requestor=beat.by)])
    drafts.append(demand)
  return tuple(drafts)
