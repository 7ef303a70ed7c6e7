"""Figures of a split: the funnel, and the samples that were kept."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
import re
from typing import Any

from agentrl import jsons
from agentrl.eigendata import sample as sample_lib
from agentrl.llm import budget
from agentrl.llm import llm as llm_lib


def describe(samples: Sequence[sample_lib.Sample]) -> dict[str, Any]:
  """Returns numbers of samples tried, kept and rejected (by worker and kind),
  the certificates, kinds, lengths and words of those kept, and calls by
  worker."""
  kept = [s for s in samples if s.task]
  rejected = [s for s in samples if not s.task]
  usage = collections.Counter()
  for s in samples:
    for worker, use in s.usage.items():
      usage[worker, 'calls'] += use.calls + use.hits
  tasks = [s.task for s in kept]
  certificates = [t.certificate for t in tasks if t.certificate]
  return {
      'tried': len(samples), 'kept': len(kept),
      'rejected': _counts(s.rejection.name for s in rejected),
      'examples': {s.rejection.name: s.rejection.detail for s in rejected},
      'repaired': _counts(r.name for s in kept for r in s.repaired),
      'mutants': _mutants(samples),
      'floors': {name: sum(c.floors.get(name, 0) for c in certificates)
                 for name in sorted({n for c in certificates
                                     for n in c.floors})},
      'domains': _counts(t.domain for t in tasks),
      'kinds': _counts(t.kind for t in tasks),
      'demands': _counts(str(len(t.families)) for t in tasks),
      'families': _counts(f for t in tasks for f in t.families),
      'combinations': len({tuple(sorted(t.families)) for t in tasks}),
      'lengths': _lengths(kept), 'vocabulary': _vocabulary(kept),
      'usage': {f'{worker}/{unit}': n
                for (worker, unit), n in sorted(usage.items())}}


def cost(splits: Mapping[str, Sequence[sample_lib.Sample]],
         ledger: budget.Ledger,
         before: Sequence[Mapping[str, llm_lib.Usage]]) -> dict[str, Any]:
  """Returns the cost of each stage, and the payments since the run was first
  started.

  The price of a task counts answers from the cache, and what earlier starts of
  the run paid.

  Args:
    splits: split -> its samples, the rejected ones among them.
    ledger: account of the run; it includes samples that were never finished.
    before: usage of planning and evolution, by stage.
  """
  samples = [s for split in splits.values() for s in split]
  stages = llm_lib.by_stage([*before, *(s.usage for s in samples)])
  total = sum(stages.values(), llm_lib.Usage())
  # A later start finds answers in the cache that an earlier one paid for.
  dollars = max(total.dollars + total.saved, ledger.spent.dollars)
  tokens = max(total.tokens + total.saved_tokens, ledger.spent.tokens)
  kept = sum(s.task is not None for s in samples)
  return {
      'stages': jsons.to_json(stages),
      'paid': jsons.to_json(ledger.spent), 'unpriced': sorted(ledger.unpriced),
      'tokens_per_task': round(tokens / max(1, kept)),
      'dollars_per_task': (None if ledger.unpriced
                           else round(dollars / max(1, kept), 6))}


def _counts(names: Iterable[str]) -> dict[str, int]:
  return dict(collections.Counter(names).most_common())


def _mutants(samples: Sequence[sample_lib.Sample]) -> dict[str, Any]:
  """Returns numbers of mutants, killed and equivalent ones among the samples
  that were kept; and the quality of the first checkers, before any was mended:
  how many passed a wrong run, by kinds."""
  certificates = [s.task.certificate for s in samples
           if s.task and s.task.certificate]
  total, killed, equivalent = (
      sum(getattr(c, name) for c in certificates)
      for name in ('mutants', 'killed', 'equivalent'))
  first = [s.first_checker for s in samples if s.first_checker]
  return {'total': total, 'killed': killed, 'equivalent': equivalent,
          'score': round(killed / max(1, total - equivalent), 4),
          'first_checkers': len(first),
          'first_score': round(sum(f.score for f in first)
                               / max(1, len(first)), 4),
          'first_with_false_accepts': sum(bool(f.passed) for f in first),
          'false_accepts': _counts(k for f in first for k in f.passed)}


def _lengths(kept: Sequence[sample_lib.Sample]) -> dict[str, list[int]]:
  """Returns the lengths of every kept sample."""
  return {
      'scenario_words': [len(s.task.scenario.split()) for s in kept],
      'dialogue_messages': [len(s.messages) for s in kept if s.messages],
      'dialogue_words': [sum(len((m.content or '').split())
                             for m in s.messages) for s in kept if s.messages]}


def _vocabulary(kept: Sequence[sample_lib.Sample]) -> dict[str, int]:
  """Returns numbers of different words in scenarios and by role."""
  words = collections.defaultdict(set)
  for s in kept:
    words['scenario'].update(_words(s.task.scenario))
    for m in s.messages:
      words[m.role].update(_words(m.content or ''))
  return {role: len(own) for role, own in sorted(words.items())}


def _words(text: str) -> list[str]:
  return re.findall(r'\w+', text.lower())
