"""The workflow planner: pairs of a synthesis plan and an evaluation plan.

A synthesis plan says what to write: which combinations of demand families, how
many demands, which style of user. Its evaluation plan says what to look for in
what was written. An LLM that is told policy, tools and tables writes the pairs
one after another, each seeing those before (arXiv:2601.22607); what a plan
shares with an earlier one is counted and taken out, so no two overlap. No
combination of two or more families is in both splits. Single demands may be in
both, on other entities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import itertools
from typing import Any

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.envs import domain as domain_lib
from agentrl.llm import llm as llm_lib

HELD_OUT = 0.3  # of the combinations, for the split `test`
STYLES = {'polite': 'You are polite.', 'chatty': 'You are chatty.',
          'hurried': 'You are in a hurry.', 'brief': 'You are brief.'}
TRIES = 2  # for each plan
MOST_OVERLAP = 0.5  # of a plan with all earlier ones, or it is asked for again


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
  """A synthesis plan and its evaluation plan.

  Attributes:
    id: domain/number/style.
    domain: what it writes for.
    split: `train` or `test`.
    combinations: sets of families, one of which a task is composed of.
    style: of the user, a key of `STYLES`.
    rubric: what a good dialogue keeps to.
    failures: kinds of mistakes to watch for.
    overlap: share of the combinations it came with that an earlier plan had.
    emphasis: weights of the combinations; () if all weigh the same.
  """

  id: str
  domain: str
  split: str
  combinations: tuple[tuple[str, ...], ...]
  style: str
  rubric: tuple[str, ...] = ()
  failures: tuple[str, ...] = ()
  overlap: float = 0.0
  emphasis: tuple[float, ...] = ()

  @property
  def demands(self) -> int:
    """Demands of a task."""
    return len(self.combinations[0])


def from_json(record: Mapping[str, Any]) -> Plan:
  return Plan(**{
      **record, 'combinations': tuple(map(tuple, record['combinations'])),
      'rubric': tuple(record['rubric']),
      'failures': tuple(record['failures']),
      'emphasis': tuple(record['emphasis'])})


def held_out(combination: Sequence[str]) -> bool:
  """True if a set of families is met in the split `test` only."""
  text = '+'.join(sorted(combination))
  number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big')
  return len(combination) > 1 and number < HELD_OUT * 2**32


class Unfit(ValueError):
  """A plan that cannot be written for; the text is a critique."""


def about(env: domain_lib.Domain) -> dict[str, Any]:
  """What a planner is told of a domain: policy, tools with the first lines of
  their descriptions, and the tables with their sizes and fields."""
  start = env.initial_state(0, 'train')
  asked = types.Task('', env.name, '', initial_state=start)
  tools = {side: {f['name']: f['description'].partition('\n')[0] for f in (
      tool['function'] for tool in env.tools(side, asked))}
           for side in ('assistant', 'user')}
  tables = {name: {'records': len(rows), 'fields': list(next(
      iter(rows.values()), ()))} for name, rows in env.tables(**start).items()}
  return {'policy': env.policy, 'tools': tools, 'tables': tables}


def write(author: prompts.Author, families: Mapping[str, Sequence[str]],
          split: str, weights: Sequence[float], *, known: Mapping[str, Any],
          pairs: int, seed: int) -> list[Plan]:
  """Has up to `pairs` plans written, each in view of those before.

  Args:
    author: the planner.
    families: domain -> names of its demand families.
    split: `train` or `test`.
    weights: of tasks with 1, 2, .. demands; those of weight 0, or for which
      no domain has families, are not planned.
    known: domain -> what the planner is told `about` it.
    pairs: the most plans.
    seed: of the planner.

  Returns:
    The plans, in an order that does not depend on when they were thought of.

  Raises:
    ValueError: no plan was fit, or none can be.
  """
  demands = sizes(families, split, weights)
  found: list[Plan] = []
  critique = ''
  for i in range(pairs * TRIES):
    payload = {
        'about': dict(known),  # first, for servers keep what prompts begin with
        'domains': {k: list(v) for k, v in families.items()}, 'split': split,
        'styles': STYLES, 'demands': demands, 'critique': critique,
        'earlier': [{'domain': p.domain, 'demands': p.demands,
                     'style': p.style, 'families': _names(p)} for p in found]}
    try:
      record = author.write('planner', payload, seed + i)['plan']
      if record is None:
        break
      found.append(_plan(record, families, split, demands, found))
      critique = ''
    except (Unfit, llm_lib.BadAnswer) as e:
      critique = str(e)
    if len(found) == pairs:
      break
  if not found:
    raise ValueError(f'No plan for split {split!r}. '
                     + (critique and f'The last one was turned down: '
                        f'{critique}. ')
                     + 'Raise config.plan_pairs, or name another planner.')
  return sorted(found, key=lambda p: (
      list(families).index(p.domain), p.demands, list(STYLES).index(p.style),
      p.combinations))


def sizes(families: Mapping[str, Sequence[str]], split: str,
          weights: Sequence[float]) -> list[int]:
  """Numbers of demands that tasks of a split may have: those with a weight,
  for which a domain has families.

  Raises:
    ValueError: there are none.
  """
  found = [n for n, weight in enumerate(weights, 1) if weight and any(
      _sets(names, n, split) for names in families.values())]
  if not found:
    raise ValueError(f'No plan is left for split {split!r}: demand weights '
                     f'{tuple(weights)} over families {dict(families)}. Give '
                     'weights to numbers of demands that a domain has '
                     f'families for (config.demands_{split}).')
  return found


def _plan(record: Mapping[str, Any], families: Mapping[str, Sequence[str]],
          split: str, demands: Sequence[int], earlier: Sequence[Plan]
          ) -> Plan:
  """The plan of an answer, less what earlier ones have.

  Raises:
    Unfit: it asks for what there is not, or for nothing new.
  """
  for what, value, known in (('domain', record['domain'], families),
                             ('style', record['style'], STYLES),
                             ('number of demands', record['demands'],
                              demands)):
    if value not in known:
      raise Unfit(f'there is no {what} {value!r}, but {list(known)}')
  domain, number = record['domain'], record['demands']
  if unknown := set(record['families']) - set(families[domain]):
    raise Unfit(f'{domain} has no families {sorted(unknown)}')
  sets = _sets(record['families'], number, split)
  taken = {c for p in earlier if (p.domain, p.style) == (
      domain, record['style']) for c in p.combinations}
  overlap = sum(c in taken for c in sets) / max(1, len(sets))
  fresh = tuple(c for c in sets if c not in taken)
  if not fresh or overlap > MOST_OVERLAP:
    raise Unfit(f'{overlap:.0%} of its {len(sets)} combinations of families '
                'are those of earlier plans')
  name = f'{domain}/{number}/{record["style"]}'
  same = sum(p.id.startswith(name) for p in earlier)
  return Plan(f'{name}/{same + 1}' if same else name, domain, split, fresh,
              record['style'], tuple(record['rubric']),
              tuple(record['failures']), round(overlap, 4))


def overlaps(plans: Sequence[Plan]) -> dict[str, float]:
  """How many `pairs` of plans there are, and the mean `overlap` that they came
  with; what remains of them has none."""
  return {'pairs': len(plans), 'overlap': round(
      sum(p.overlap for p in plans) / max(1, len(plans)), 4)}


def _sets(names: Sequence[str], number: int, split: str
          ) -> list[tuple[str, ...]]:
  """Combinations of so many families that may be in a split."""
  return [c for c in itertools.combinations(sorted(set(names)), number)
          if number == 1 or held_out(c) == (split == 'test')]


def _names(plan: Plan) -> list[str]:
  return sorted({name for c in plan.combinations for name in c})


def weigh(plans: Sequence[Plan], weights: Sequence[float]) -> list[float]:
  """How often each plan is drawn, so that domains are drawn alike, and tasks
  with 1, 2, .. demands as their weights say; by their emphasis beside that."""
  peers = [sum((p.domain, p.demands) == (q.domain, q.demands) for q in plans)
           for p in plans]
  domains = len({p.domain for p in plans})
  return [weights[p.demands - 1] / n / domains
          * (sum(p.emphasis) / len(p.emphasis) if p.emphasis else 1.0)
          for p, n in zip(plans, peers)]
