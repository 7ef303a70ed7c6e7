"""Self-evolution: a stream rewrites its prompts, and a referee lets it or not.

A round writes a few pilot samples, has what was turned down criticised, and
revises the prompt that is most at fault. The referee then writes its audit
samples with the old prompts and with the new: the same seeds, which nobody who
revises ever sees, judged by execution and by a judge whose prompt and plan do
not evolve. The revision stays only if more of them earn their certificates, and
if these are not won by easier tasks: tested by fewer mutants, or solved by a
student more often than by chance. Source: arXiv:2601.22607, section on
self-evolution; the referee is ours.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import math
from typing import Any

from agentrl import jsons
from agentrl import seeds
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.llm import llm as llm_lib

EXAMPLES = 3  # of each way to be turned down, shown to the critic
LEAST_DEPTH = 0.8  # of the mutants of tasks before, or they became easier
EASIER = 0.05  # chance of the student's gain below which it is no chance


@dataclasses.dataclass(frozen=True, slots=True)
class Audit:
  """What the referee saw.

  Attributes:
    acceptance: share of the samples that were kept, of those for which there
      was a caller at all.
    variety: see `variety`, of what was kept; None of fewer than two.
    mutants: of the task of each sample, None where none was kept.
    solved: whether the student solved it, None where that cannot be told; ()
      without a student.
  """

  acceptance: float
  variety: float | None
  mutants: tuple[int | None, ...]
  solved: tuple[bool | None, ...] = ()

  def beats(self, best: Audit, *before: Audit) -> bool:
    """More was kept than in `best`, and tasks that both kept are tested by as
    much; for the student they are no easier than there, nor than any version
    `before` had them: small steps add up."""
    both = _both(self.mutants, best.mutants)
    return (self.acceptance > best.acceptance
            and sum(a for a, _ in both) >= LEAST_DEPTH * sum(
                b for _, b in both)
            and all(_chance(_both(self.solved, other.solved)) >= EASIER
                    for other in (best, *before)))

  def to_json(self) -> dict[str, Any]:
    """With a student also its `pass_rate`, and the `tasks` that it is of."""
    counted = [s for s in self.solved if s is not None]
    rate = round(sum(counted) / len(counted), 4) if counted else None
    return jsons.to_json(self) | (
        {'pass_rate': rate, 'tasks': len(counted)} if self.solved else {})


def _both(after: Sequence[Any], before: Sequence[Any]
          ) -> list[tuple[Any, Any]]:
  return [(a, b) for a, b in zip(after, before)
          if a is not None and b is not None]


def _chance(solved: Sequence[tuple[bool, bool]]) -> float:
  """Chance of as many gains, or more, if gains and losses were as likely: the
  one-sided sign test, exact however few they are. Below five nothing shows."""
  gained, lost = sum(a > b for a, b in solved), sum(a < b for a, b in solved)
  changed = gained + lost
  return sum(math.comb(changed, n)
             for n in range(gained, changed + 1)) / 2**changed


def evolve(m: sample_lib.Maker, stream: streams_lib.Stream, *, rounds: int,
           pilot: int, audit: int, patience: int, target: float
           ) -> tuple[streams_lib.Stream, list[dict[str, Any]]]:
  """Improves the prompts of a stream. Its plan stays: the judge goes by it.

  Args:
    m: what all samples share.
    stream: to start from.
    rounds: at most; 0 leaves everything as it is.
    pilot: samples that a round looks at.
    audit: samples of the referee.
    patience: rounds without a better revision, until it ends.
    target: acceptance of pilot and audit at which it ends.

  Returns:
    The stream as it became, and a record of each round, see `_record`.
  """
  history: list[dict[str, Any]] = []
  tried: dict[str, list[str]] = collections.defaultdict(list)
  first, best, before = stream.prompts, None, []
  spent, idle = [], 0
  watch: list[str] = []  # failures that the engineer adds: for the critic alone
  for number in range(rounds):
    if best is None:
      best = _audit(m, stream, audit, first, spent)
    samples = [sample_lib.make(m, stream, f'pilot-{number}', i)
               for i in range(pilot)]
    if m.ledger.stopped:
      break
    spent += [s.usage for s in samples]
    record = _record(number, stream, samples, best)
    history.append(record)
    if min(record['pilot'], best.acceptance) >= target:
      record |= _price(spent)
      break
    change = _revise(m, stream, samples, tried, watch,
                     seed=seeds.seed_of(m.seed, stream.plan.id, number))
    spent.append(change.usage)
    record |= change.facts
    if change.stream:
      after = _audit(m, change.stream, audit, first, spent)
      if m.ledger.stopped:  # an audit that was cut off says nothing
        record |= {'note': m.ledger.stopped, **_price(spent)}
        break
      record |= {'after': after.to_json(),
                 'accepted': after.beats(best, *before)}
    if record['accepted']:
      before.append(best)
      watch += change.facts['failures']
      stream, best, idle = change.stream, after, 0
    else:
      idle += 1
      if change.stream:
        tried[change.facts['role']].append(change.facts['text'])
    record |= _price(spent)
    spent = []
    if idle == patience:
      break
  return stream, history


def _record(number: int, stream: streams_lib.Stream,
            samples: Sequence[sample_lib.Sample], best: Audit
            ) -> dict[str, Any]:
  """A round as it starts: `stream`, `version` of its prompts, `pilot`
  acceptance, `first_try` of its dialogues, what was `rejected`, and the `audit`
  so far. A revision adds `role`, `critiques`, `before` and `text` (its
  prompt), `failures` that the critic shall watch for, `candidate` (its
  version), `after` (its audit) and whether it was `accepted`; where there is
  none, a `note` says why."""
  return {'round': number, 'stream': stream.plan.id,
          'version': stream.prompts.version, 'pilot': acceptance(samples),
          'first_try': first_try(samples), 'rejected': rejections(samples),
          'audit': best.to_json(), 'accepted': False}


def first_try(samples: Sequence[sample_lib.Sample]) -> float | None:
  """Share of dialogues that passed when first played: how hard the tasks are
  for the agent that plays them. None without a dialogue."""
  def again(sample: sample_lib.Sample) -> bool:
    return any(r.part == sample_lib.Part.DIALOGUE for r in sample.repaired)
  played = [s for s in samples if s.task or again(s)]
  passed = sum(not again(s) for s in played)
  return passed / len(played) if played else None


def acceptance(samples: Sequence[sample_lib.Sample]) -> float:
  """Share that was kept, of those for which there was a caller at all."""
  counted = [s for s in samples if s.had_caller]
  return sum(s.task is not None for s in counted) / max(1, len(counted))


def rejections(samples: Sequence[sample_lib.Sample]) -> dict[str, int]:
  """How many were turned down by whom, the callers aside; the most first."""
  return dict(collections.Counter(
      s.rejection.name for s in samples
      if s.rejection and s.had_caller).most_common())


def _audit(m: sample_lib.Maker, stream: streams_lib.Stream, count: int,
           first: prompts.Prompts,
           spent: list[Mapping[str, llm_lib.Usage]]) -> Audit:
  """The user whom the student meets has the `first` prompts for ever: one who
  learns to err less would make tasks look easier."""
  user = first if m.student else None
  samples = [sample_lib.make(m, stream, 'audit', i, user=user)
             for i in range(count)]
  spent += [s.usage for s in samples]
  return Audit(
      acceptance(samples), variety([s for s in samples if s.task]),
      tuple(s.task.certificate.mutants if s.task else None
            for s in samples),
      tuple(s.solved for s in samples) if m.student else ())


def variety(kept: Sequence[sample_lib.Sample]) -> float | None:
  """How different two samples are in their runs of three words: 1 less the
  Jaccard index, mean over pairs. Unlike distinct-n it does not hang on how
  many samples there are."""
  runs = [_runs(s) for s in kept]
  apart = [1 - len(a & b) / max(1, len(a | b))
           for a, b in itertools.combinations(runs, 2)]
  return round(sum(apart) / len(apart), 4) if apart else None


def _runs(s: sample_lib.Sample) -> set[tuple[str, ...]]:
  texts = [s.task.scenario, *(m.content or '' for m in s.messages
                              if m.role in ('assistant', 'user'))]
  words = [text.lower().split() for text in texts]
  return {run for w in words for run in zip(w, w[1:], w[2:])}


def _price(spent: Sequence[Mapping[str, llm_lib.Usage]]) -> dict[str, Any]:
  """What a round took: `usage` by stage, and what is `spent` in all, the same
  whether our cache had the answers or not."""
  usage = llm_lib.by_stage(spent)
  total = sum(usage.values(), llm_lib.Usage())
  return {'usage': jsons.to_json(usage), 'spent': {
      'calls': total.calls + total.hits,
      'tokens': total.tokens + total.saved_tokens,
      'dollars': round(total.dollars + total.saved, 9)}}


@dataclasses.dataclass(frozen=True)
class _Change:
  """What the engineer came to; `stream` is None if nothing of use."""

  facts: Mapping[str, Any]
  usage: Mapping[str, llm_lib.Usage]
  stream: streams_lib.Stream | None = None


def _revise(m: sample_lib.Maker, stream: streams_lib.Stream,
            samples: Sequence[sample_lib.Sample],
            tried: Mapping[str, Sequence[str]], watch: Sequence[str], *,
            seed: int) -> _Change:
  """Critique, and the revision of the prompt that is most at fault."""
  m.llm.usage.clear()
  author = prompts.Author(m.llm, stream.prompts)
  failures = list(dict.fromkeys((*stream.plan.failures, *watch)))
  facts: dict[str, Any] = {}
  try:
    critiques = author.write('critic', {
        'plan': {**dataclasses.asdict(stream.plan), 'failures': failures},
        'rejected': rejections(samples), 'examples': _examples(samples),
    }, seed)['critiques']
    if not critiques:
      raise prompts.Unfit('Nothing was criticised.')
    # Who thinks of goals is one of the two, whichever the critic has named.
    thinks = 'intent' if m.envs[stream.plan.domain].drafts else 'goal'
    critiques = [{**c, 'role': thinks} if c['role'] in ('intent', 'goal')
                 else c for c in critiques]
    role = critiques[0]['role']
    own = [c for c in critiques if c['role'] == role]
    before = stream.prompts.texts[role]
    answer = author.write('engineer', {
        'prompted': role, 'text': before, 'variables': prompts.FIELDS[role],
        'critiques': own, 'tried': list(tried[role])}, seed)
    facts |= {'role': role, 'critiques': own, 'before': before,
              'text': answer['text'], 'failures': answer['failures']}
    revised = stream.prompts.revised(role, answer['text'])
    if revised == stream.prompts:
      raise prompts.Unfit('The new prompt is the old one.')
  except (prompts.Unfit, llm_lib.BadAnswer, llm_lib.OverBudget) as e:
    return _Change({**facts, 'note': str(e)}, dict(m.llm.usage))
  return _Change({**facts, 'candidate': revised.version}, dict(m.llm.usage),
                 dataclasses.replace(stream, prompts=revised))


def _examples(samples: Sequence[sample_lib.Sample]) -> list[dict[str, Any]]:
  """A few of each way to be turned down."""
  ways = collections.defaultdict(list)
  for s in samples:
    if s.rejection and s.had_caller:
      ways[s.rejection.name].append({
          'worker': s.rejection.worker, 'reason': s.rejection.kind,
          'detail': s.rejection.detail,
          'problems': list(s.rejection.problems)})
  return [e for examples in ways.values() for e in examples[:EXAMPLES]]
