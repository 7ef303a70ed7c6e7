"""The workflow planner: pairs of a synthesis plan and an evaluation plan.

A synthesis plan gives combinations of demand families, the number of demands
and the style of the user; its evaluation plan gives a rubric for the dialogues.
An LLM that is told policy, tools and tables writes the pairs one after another,
each in view of those before (arXiv:2601.22607); combinations that a plan shares
with an earlier one are counted and taken out, so that no two plans overlap. No
combination of two or more families is in both splits. Single families may be in
both, on other entities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import itertools
from typing import Any

from agentrl.eigendata import prompts
from agentrl.llm import llm as llm_lib

HELD_OUT = 0.3  # share of the combinations for the split `test`
STYLES = {'polite': 'You are polite.', 'chatty': 'You are chatty.',
          'hurried': 'You are in a hurry.', 'brief': 'You are brief.'}
TRIES = 2  # per plan
MOST_OVERLAP = 0.5  # share of a plan that earlier ones may have


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
  """A synthesis plan and its evaluation plan.

  Attributes:
    id: domain/number of demands/style.
    domain: domain of its tasks.
    split: `train` or `test`.
    combinations: sets of families; a task is composed of one of them.
    style: style of the user, a key of `STYLES`.
    rubric: rules that a good dialogue keeps.
    failures: kinds of mistakes to watch for.
    overlap: share of its combinations that an earlier plan had; they are gone.
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
    """Number of demands of a task."""
    return len(self.combinations[0])


def held_out(combination: Sequence[str]) -> bool:
  """Returns whether a set of families is for the split `test` only."""
  text = '+'.join(sorted(combination))
  number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big')
  return len(combination) > 1 and number < HELD_OUT * 2**32


class UnfitPlan(ValueError):
  """A plan that cannot be used; the text is a critique."""


def write(writer: prompts.Writer, families: Mapping[str, Sequence[str]],
          split: str, weights: Sequence[float], *, known: Mapping[str, Any],
          pairs: int, seed: int) -> list[Plan]:
  """Has plans written, each in view of those before.

  Args:
    writer: LLM of the planner.
    families: domain -> names of its demand families.
    split: `train` or `test`.
    weights: weights of tasks with 1, 2, ... demands; numbers of weight 0, or
      for which no domain has enough families, are not planned.
    known: domain -> its description, see `source.describe`.
    pairs: most plans.
    seed: seed of the planner.

  Returns:
    The plans, in an order that does not depend on when they were written.

  Raises:
    ValueError: no plan can be written, or none was fit.
  """
  demands = sizes(families, split, weights)
  plans: list[Plan] = []
  critique = ''
  for i in range(pairs * TRIES):
    payload = {
        'about': dict(known),  # first, for servers cache the start of prompts
        'domains': {k: list(v) for k, v in families.items()}, 'split': split,
        'styles': STYLES, 'demands': demands, 'critique': critique,
        'earlier': [{'domain': p.domain, 'demands': p.demands,
                     'style': p.style, 'families': _names(p)} for p in plans]}
    try:
      record = writer.write('planner', payload, seed + i)['plan']
      if record is None:
        break
      plans.append(_plan(record, families, split, demands, plans))
      critique = ''
    except (UnfitPlan, llm_lib.BadAnswer) as e:
      critique = str(e)
    if len(plans) == pairs:
      break
  if not plans:
    raise ValueError(f'No plan for split {split!r}. '
                     + (critique and f'The last one was turned down: '
                        f'{critique}. ')
                     + 'Raise config.plan_pairs, or name another planner.')
  return sorted(plans, key=lambda p: (
      list(families).index(p.domain), p.demands, list(STYLES).index(p.style),
      p.combinations))


def sizes(families: Mapping[str, Sequence[str]], split: str,
          weights: Sequence[float]) -> list[int]:
  """Returns the numbers of demands that tasks of a split may have: those with a
  weight for which a domain has enough families.

  Raises:
    ValueError: there are none.
  """
  numbers = [n for n, weight in enumerate(weights, 1) if weight and any(
      _sets(names, n, split) for names in families.values())]
  if not numbers:
    raise ValueError(f'No plan is left for split {split!r}: demand weights '
                     f'{tuple(weights)} over families {dict(families)}. Give '
                     'weights to numbers of demands that a domain has '
                     f'families for (config.demands_{split}).')
  return numbers


def _plan(record: Mapping[str, Any], families: Mapping[str, Sequence[str]],
          split: str, demands: Sequence[int], earlier: Sequence[Plan]
          ) -> Plan:
  """Returns the plan of an answer, without the combinations of earlier ones.

  Raises:
    UnfitPlan: it names unknown things, or little that is new.
  """
  for noun, value, known in (('domain', record['domain'], families),
                             ('style', record['style'], STYLES),
                             ('number of demands', record['demands'],
                              demands)):
    if value not in known:
      raise UnfitPlan(f'there is no {noun} {value!r}, but {list(known)}')
  domain, number = record['domain'], record['demands']
  if unknown := set(record['families']) - set(families[domain]):
    raise UnfitPlan(f'{domain} has no families {sorted(unknown)}')
  sets = _sets(record['families'], number, split)
  taken = {c for p in earlier if (p.domain, p.style) == (
      domain, record['style']) for c in p.combinations}
  overlap = sum(c in taken for c in sets) / max(1, len(sets))
  fresh = tuple(c for c in sets if c not in taken)
  if not fresh or overlap > MOST_OVERLAP:
    raise UnfitPlan(f'{overlap:.0%} of its {len(sets)} combinations of '
                    'families are those of earlier plans')
  name = f'{domain}/{number}/{record["style"]}'
  same = sum(p.id.startswith(name) for p in earlier)
  return Plan(f'{name}/{same + 1}' if same else name, domain, split, fresh,
              record['style'], tuple(record['rubric']),
              tuple(record['failures']), round(overlap, 4))


def overlaps(plans: Sequence[Plan]) -> dict[str, float]:
  """Returns the number of plans (`pairs`), and their mean `overlap` before
  shared combinations were taken out."""
  return {'pairs': len(plans), 'overlap': round(
      sum(p.overlap for p in plans) / max(1, len(plans)), 4)}


def _sets(names: Sequence[str], number: int, split: str
          ) -> list[tuple[str, ...]]:
  """Returns the combinations of a number of families that may be in a split."""
  return [c for c in itertools.combinations(sorted(set(names)), number)
          if number == 1 or held_out(c) == (split == 'test')]


def _names(plan: Plan) -> list[str]:
  return sorted({name for c in plan.combinations for name in c})


def weigh(plans: Sequence[Plan], weights: Sequence[float]) -> list[float]:
  """Returns the weight of each plan: domains are drawn equally often, tasks
  with 1, 2, ... demands by `weights`, and plans with an emphasis by its
  mean."""
  peers = [sum((p.domain, p.demands) == (q.domain, q.demands) for q in plans)
           for p in plans]
  domains = len({p.domain for p in plans})
  return [weights[p.demands - 1] / n / domains
          * (sum(p.emphasis) / len(p.emphasis) if p.emphasis else 1.0)
          for p, n in zip(plans, peers)]
