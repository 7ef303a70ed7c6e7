"""Self-evolution: a stream revises its prompts, and a referee accepts or
rejects each revision.

A round draws a few pilot samples, has the rejected ones criticised, and revises
the prompt that is most at fault. The referee then draws its audit samples with
the old prompts and with the new: the same seeds, which neither critic nor
engineer ever sees, judged by execution and by a judge whose prompt and plan do
not evolve. The revision stays only if more of them earn their certificates, and
if that is not due to easier tasks: tasks that are tested by fewer mutants, or
that a student solves significantly more often.

Source: arXiv:2601.22607, section on self-evolution; the referee is ours.
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
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.llm import llm as llm_lib

EXAMPLES = 3  # rejections of each kind that the critic is shown
LEAST_DEPTH = 0.8  # share of the mutants before; with fewer, tasks are easier
EASIER = 0.05  # p-value of the student's gain below which tasks are easier


@dataclasses.dataclass(frozen=True, slots=True)
class Audit:
  """Results of the referee's samples.

  Attributes:
    acceptance: share of the samples with a caller that were kept.
    variety: see `variety`, of the samples that were kept.
    mutants: number of mutants of each sample's task, None where none was kept.
    solved: whether the student solved each sample's task, None where that
      cannot be told; () without a student.
  """

  acceptance: float
  variety: float | None
  mutants: tuple[int | None, ...]
  solved: tuple[bool | None, ...] = ()

  def beats(self, best: Audit, *before: Audit) -> bool:
    """Returns whether more was kept than in `best`, by no easier tasks.

    Tasks that both kept must be tested by about as many mutants; and for the
    student they must be no easier than in `best`, nor than in any audit
    `before`, since small steps add up.
    """
    both = _both(self.mutants, best.mutants)
    return (self.acceptance > best.acceptance
            and sum(a for a, _ in both) >= LEAST_DEPTH * sum(
                b for _, b in both)
            and all(_chance(_both(self.solved, other.solved)) >= EASIER
                    for other in (best, *before)))

  def to_json(self) -> dict[str, Any]:
    """Returns the record; with a student also its `pass_rate`, and the number
    of `tasks` that it is taken over."""
    counted = [s for s in self.solved if s is not None]
    rate = round(sum(counted) / len(counted), 4) if counted else None
    return jsons.to_json(self) | (
        {'pass_rate': rate, 'tasks': len(counted)} if self.solved else {})


def _both(after: Sequence[Any], before: Sequence[Any]
          ) -> list[tuple[Any, Any]]:
  """Returns the pairs in which both values are known."""
  return [(a, b) for a, b in zip(after, before)
          if a is not None and b is not None]


def _chance(solved: Sequence[tuple[bool, bool]]) -> float:
  """Returns the p-value of the one-sided exact sign test: the probability of as
  many gains, or more, if gains and losses were equally likely. With fewer than
  five changes it is never below `EASIER`."""
  gained, lost = sum(a > b for a, b in solved), sum(a < b for a, b in solved)
  changed = gained + lost
  return sum(math.comb(changed, n)
             for n in range(gained, changed + 1)) / 2**changed


def evolve(context: context_lib.Context, stream: streams_lib.Stream,
           options: config_lib.Evolve
           ) -> tuple[streams_lib.Stream, list[dict[str, Any]]]:
  """Improves the prompts of a stream. Its plan stays: the judge goes by it.

  Args:
    context: what all samples share.
    stream: stream to start from.
    options: numbers of rounds and samples, and when it ends.

  Returns:
    The stream with its last prompts, and a record of each round, see `_record`.
  """
  history: list[dict[str, Any]] = []
  tried: dict[str, list[str]] = collections.defaultdict(list)
  first, best, before = stream.prompts, None, []
  spent, idle = [], 0
  watch: list[str] = []  # failures that the engineer adds: for the critic alone
  for number in range(options.rounds):
    if best is None:
      best = _audit(context, stream, options.audit, first, spent)
    samples = [sample_lib.draw(context, stream, f'pilot-{number}', i)
               for i in range(options.pilot)]
    if context.ledger.stopped:
      break
    spent += [s.usage for s in samples]
    record = _record(number, stream, samples, best)
    history.append(record)
    if min(record['pilot'], best.acceptance) >= options.target:
      record |= _price(spent)
      break
    change = _revise(context, stream, samples, tried, watch,
                     seed=seeds.seed_of(context.seed, stream.plan.id, number))
    spent.append(change.usage)
    record |= change.facts
    if change.stream:
      after = _audit(context, change.stream, options.audit, first, spent)
      if context.ledger.stopped:  # an audit that was cut off says nothing
        record |= {'note': context.ledger.stopped, **_price(spent)}
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
    if idle == options.patience:
      break
  return stream, history


def _record(number: int, stream: streams_lib.Stream,
            samples: Sequence[sample_lib.Sample], best: Audit
            ) -> dict[str, Any]:
  """Returns the record of a round as it starts.

  Returns:
    `stream`, `version` of its prompts, `pilot` acceptance, `first_try` of its
    dialogues, counts of the `rejected`, and the `audit` of its prompts. A
    revision adds `role`, `critiques`, `before` and `text` (prompts of the
    role), `failures` that the critic shall watch for, `candidate` (its
    version), `after` (its audit) and whether it was `accepted`; without a
    revision, a `note` says why.
  """
  return {'round': number, 'stream': stream.plan.id,
          'version': stream.prompts.version, 'pilot': acceptance(samples),
          'first_try': first_try(samples), 'rejected': rejections(samples),
          'audit': best.to_json(), 'accepted': False}


def first_try(samples: Sequence[sample_lib.Sample]) -> float | None:
  """Returns the share of dialogues that passed when first played: a measure of
  how hard the tasks are for the agent. None without a dialogue."""
  def sent_back(sample: sample_lib.Sample) -> bool:
    return any(r.part == sample_lib.Part.DIALOGUE for r in sample.repaired)
  played = [s for s in samples if s.task or sent_back(s)]
  passed = sum(not sent_back(s) for s in played)
  return passed / len(played) if played else None


def acceptance(samples: Sequence[sample_lib.Sample]) -> float:
  """Returns the share of the samples with a caller that was kept."""
  counted = [s for s in samples if s.had_caller]
  return sum(s.task is not None for s in counted) / max(1, len(counted))


def rejections(samples: Sequence[sample_lib.Sample]) -> dict[str, int]:
  """Counts the rejections of samples with a caller; the most first."""
  return dict(collections.Counter(
      s.rejection.name for s in samples
      if s.rejection and s.had_caller).most_common())


def _audit(context: context_lib.Context, stream: streams_lib.Stream, count: int,
           first: prompts.Prompts,
           spent: list[Mapping[str, llm_lib.Usage]]) -> Audit:
  """Returns the audit of a stream, and adds its cost to `spent`.

  The user that the student meets keeps the `first` prompts: a user that learns
  to err less would make tasks look easier.
  """
  user = first if context.student else None
  samples = [sample_lib.draw(context, stream, 'audit', i, user=user)
             for i in range(count)]
  spent += [s.usage for s in samples]
  return Audit(
      acceptance(samples), variety([s for s in samples if s.task]),
      tuple(s.task.certificate.mutants if s.task else None
            for s in samples),
      tuple(s.solved for s in samples) if context.student else ())


def variety(kept: Sequence[sample_lib.Sample]) -> float | None:
  """Returns how different two samples are: 1 less the Jaccard index of their
  trigrams of words, mean over pairs. Unlike distinct-n it does not depend on
  the number of samples. None for fewer than two."""
  grams = [_trigrams(s) for s in kept]
  distances = [1 - len(a & b) / max(1, len(a | b))
               for a, b in itertools.combinations(grams, 2)]
  return round(sum(distances) / len(distances), 4) if distances else None


def _trigrams(s: sample_lib.Sample) -> set[tuple[str, ...]]:
  texts = [s.task.scenario, *(m.content or '' for m in s.messages
                              if m.role in ('assistant', 'user'))]
  words = [text.lower().split() for text in texts]
  return {gram for w in words for gram in zip(w, w[1:], w[2:])}


def _price(spent: Sequence[Mapping[str, llm_lib.Usage]]) -> dict[str, Any]:
  """Returns the cost of a round: `usage` by stage, and the sum `spent`, which
  is the same whether our cache had the answers or not."""
  usage = llm_lib.by_stage(spent)
  total = sum(usage.values(), llm_lib.Usage())
  return {'usage': jsons.to_json(usage), 'spent': {
      'calls': total.calls + total.hits,
      'tokens': total.tokens + total.saved_tokens,
      'dollars': round(total.dollars + total.saved, 9)}}


@dataclasses.dataclass(frozen=True)
class _Change:
  """Result of the engineer; `stream` is None if there is no revision."""

  facts: Mapping[str, Any]
  usage: Mapping[str, llm_lib.Usage]
  stream: streams_lib.Stream | None = None


def _revise(context: context_lib.Context, stream: streams_lib.Stream,
            samples: Sequence[sample_lib.Sample],
            tried: Mapping[str, Sequence[str]], watch: Sequence[str], *,
            seed: int) -> _Change:
  """Has the samples criticised, and the prompt most at fault revised."""
  context.llm.usage.clear()
  writer = prompts.Writer(context.llm, stream.prompts)
  failures = list(dict.fromkeys((*stream.plan.failures, *watch)))
  facts: dict[str, Any] = {}
  try:
    critiques = writer.write('critic', {
        'plan': {**dataclasses.asdict(stream.plan), 'failures': failures},
        'rejected': rejections(samples), 'examples': _examples(samples),
    }, seed)['critiques']
    if not critiques:
      raise prompts.UnfitPrompt('Nothing was criticised.')
    # The source has one role of these two, whichever the critic has named.
    own_role = context.sources[stream.plan.domain].role
    critiques = [{**c, 'role': own_role} if c['role'] in ('intent', 'goal')
                 else c for c in critiques]
    role = critiques[0]['role']
    own = [c for c in critiques if c['role'] == role]
    before = stream.prompts.texts[role]
    answer = writer.write('engineer', {
        'prompted': role, 'text': before, 'variables': prompts.FIELDS[role],
        'critiques': own, 'tried': list(tried[role])}, seed)
    facts |= {'role': role, 'critiques': own, 'before': before,
              'text': answer['text'], 'failures': answer['failures']}
    revised = stream.prompts.revised(role, answer['text'])
    if revised == stream.prompts:
      raise prompts.UnfitPrompt('The new prompt is the old one.')
  except (prompts.UnfitPrompt, llm_lib.BadAnswer, llm_lib.OverBudget) as e:
    return _Change({**facts, 'note': str(e)}, dict(context.llm.usage))
  facts['candidate'] = revised.version
  return _Change(facts, dict(context.llm.usage),
                 dataclasses.replace(stream, prompts=revised))


def _examples(samples: Sequence[sample_lib.Sample]) -> list[dict[str, Any]]:
  """Returns a few rejections of each kind."""
  by_kind = collections.defaultdict(list)
  for s in samples:
    if s.rejection and s.had_caller:
      by_kind[s.rejection.name].append({
          'worker': s.rejection.worker, 'reason': s.rejection.kind,
          'detail': s.rejection.detail,
          'problems': list(s.rejection.problems)})
  return [e for examples in by_kind.values() for e in examples[:EXAMPLES]]
