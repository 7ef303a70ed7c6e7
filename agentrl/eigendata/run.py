"""The data stage: samples until there are enough, then files and figures.

Writes `tasks_train.jsonl`, `tasks_test.jsonl`, the dialogues (`episodes/`),
`stats.json` for the report, and the manifest.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import functools
import multiprocessing
import re
import signal
from typing import Any

import ml_collections
import tqdm

from agentrl import metrics
from agentrl import runs
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import certify
from agentrl.eigendata import guards
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib

SPLITS = ('train', 'test')
CHUNK = 8  # samples that a process takes at a time
BLOCK = 256  # samples under way


def synthesize(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Makes certified tasks and dialogues; see configs/eigendata/builtin.py.

  Raises:
    ValueError: a wrong config, or too few samples were good.
  """
  run = runs.start(workdir, 'data', config)
  if run.done:
    return
  text = config.to_json_best_effort()
  maker = sample_lib.maker(text)  # a wrong config fails here, at once
  found = {}
  with _mapper(config.processes) as mapper:
    for split, wanted in (('train', config.num_train),
                          ('test', config.num_test)):
      job = functools.partial(_job, text, split)
      samples = mapper(job, range(int(wanted * config.max_tries)))
      found[split] = _collect(samples, split, wanted)
  held = {name: guards.of_split(env, (
      s.task for s in found['test'] if s.task and s.task.domain == name))
          for name, env in maker.envs.items()}
  found['train'], flagged = guards.guard(
      found['train'], held, maker.envs, drop_flagged=config.drop_flagged)
  digest, files = _write(run.folder, found)
  stats = {split: describe(samples) for split, samples in found.items()}
  metrics.write_json(run.folder / 'stats.json', stats)
  run.finish(
      {episodes.FOLDER: digest}, files=files, prompts=prompts.version(),
      seed=config.seed, flagged=flagged,
      environments={k: certify.fingerprint(e) for k, e in maker.envs.items()},
      **{split: {k: stats[split][k] for k in
                 ('kept', 'tried', 'rejected', 'repaired', 'mutants', 'floors',
                  'kinds')}
         for split in SPLITS})


@contextlib.contextmanager
def _mapper(processes: int) -> Iterator[Any]:
  """An ordered lazy map, over processes if there is more than one."""
  if processes <= 1:
    yield map
    return
  # The processes inherit that Ctrl-C is not for them.
  ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
  with multiprocessing.get_context('spawn').Pool(processes) as pool:
    signal.signal(signal.SIGINT, ours)
    yield functools.partial(_ordered, pool, 3 * processes)


def _ordered(pool: Any, ahead: int, job: Callable[[int], sample_lib.Sample],
             numbers: Sequence[int]) -> Iterator[sample_lib.Sample]:
  """`pool.imap` that runs at most `ahead` chunks ahead: most numbers are
  never needed, and what stands in the queue is done all the same."""
  waiting = collections.deque()
  for start in range(0, len(numbers), CHUNK):
    chunk = numbers[start:start + CHUNK]
    waiting.append(pool.map_async(job, chunk, chunksize=CHUNK))
    if len(waiting) > ahead:
      yield from waiting.popleft().get()
  while waiting:
    yield from waiting.popleft().get()


def _job(config: str, split: str, i: int) -> sample_lib.Sample:
  return sample_lib.make(sample_lib.maker(config), split, i)


def _collect(samples: Iterable[sample_lib.Sample], split: str,
             wanted: int) -> list[sample_lib.Sample]:
  """Samples in order until `wanted` are kept, the rejected ones among them.

  Raises:
    ValueError: they ran out before.
  """
  found, kept, seen = [], 0, set()
  with tqdm.tqdm(total=wanted, unit='task', desc=f'data, {split}') as bar:
    for sample in samples if wanted else ():
      if sample.task and sample.task.scenario in seen:
        sample = sample_lib.Sample(worker='Duplicates', reason='seen before',
                                   detail=sample.task.scenario)
      found.append(sample)
      if sample.task:
        seen.add(sample.task.scenario)
        kept += 1
        bar.update()
        bar.set_postfix_str(f'{len(found)} tried', refresh=False)
      if kept == wanted:
        return found
  if wanted:
    reasons = describe(found)['rejected']
    raise ValueError(
        f'Only {kept} of {wanted} tasks for {split} after {len(found)} '
        f'samples: raise config.max_tries. Rejected: {reasons}.')
  return found


def _write(folder: Any, found: dict[str, list[sample_lib.Sample]]
           ) -> tuple[str, dict[str, str]]:
  """Tasks as JSON lines, dialogues as a TFDS data set; see `episodes.write`."""
  for split, samples in found.items():
    metrics.write_lines(folder / f'tasks_{split}.jsonl', (
        types.dumps(s.task) for s in samples if s.task))
  return episodes.write(folder, (
      episodes.record(s.task, s.messages, {'repaired': s.repaired})
      for s in found['train'] if s.task))


def describe(samples: Sequence[sample_lib.Sample]) -> dict[str, Any]:
  """The figures of a split: the funnel, and what was kept."""
  kept = [s for s in samples if s.task]
  rejected = [s for s in samples if not s.task]
  usage = collections.Counter()
  for s in samples:
    for worker, use in s.usage.items():
      usage[worker, 'calls'] += use.calls
      usage[worker, 'words'] += use.prompt_tokens + use.completion_tokens
  tasks = [s.task for s in kept]
  certificates = [t.certificate for t in tasks if t.certificate]
  return {
      'tried': len(samples), 'kept': len(kept),
      'rejected': _counts(f'{s.worker}: {s.reason}' for s in rejected),
      'examples': {f'{s.worker}: {s.reason}': s.detail for s in rejected},
      'repaired': _counts(r for s in kept for r in s.repaired),
      'mutants': _mutants(samples),
      'floors': {name: sum(c['floors'].get(name, 0) for c in certificates)
                 for name in sorted({n for c in certificates
                                     for n in c['floors']})},
      'domains': _counts(t.domain for t in tasks),
      'kinds': _counts(t.kind for t in tasks),
      'demands': _counts(str(len(t.families)) for t in tasks),
      'families': _counts(f for t in tasks for f in t.families),
      'combinations': len({tuple(sorted(t.families)) for t in tasks}),
      'lengths': _lengths(kept), 'vocabulary': _vocabulary(kept),
      'usage': {f'{worker}/{unit}': n
                for (worker, unit), n in sorted(usage.items())}}


def _counts(names: Iterable[str]) -> dict[str, int]:
  return dict(collections.Counter(names).most_common())


def _mutants(samples: Sequence[sample_lib.Sample]) -> dict[str, Any]:
  """Killed, equivalent and all mutants of what was kept; and how good the
  checkers were before any was mended."""
  found = [s.task.certificate for s in samples
           if s.task and s.task.certificate]
  total, killed, equivalent = (
      sum(c[k] for c in found) for k in ('mutants', 'killed', 'equivalent'))
  drafts = [s.draft for s in samples if s.draft is not None]
  return {'total': total, 'killed': killed, 'equivalent': equivalent,
          'score': round(killed / max(1, total - equivalent), 4),
          'score_of_drafts': round(sum(drafts) / max(1, len(drafts)), 4)}


def _lengths(kept: Sequence[sample_lib.Sample]) -> dict[str, list[int]]:
  """Lengths of every kept sample."""
  return {
      'scenario_words': [len(s.task.scenario.split()) for s in kept],
      'dialogue_messages': [len(s.messages) for s in kept if s.messages],
      'dialogue_words': [sum(len((m.content or '').split())
                             for m in s.messages) for s in kept if s.messages]}


def _vocabulary(kept: Sequence[sample_lib.Sample]) -> dict[str, int]:
  """Different words by who used them."""
  words = collections.defaultdict(set)
  for s in kept:
    words['scenario'].update(_words(s.task.scenario))
    for m in s.messages:
      words[m.role].update(_words(m.content or ''))
  return {role: len(found) for role, found in sorted(words.items())}


def _words(text: str) -> list[str]:
  return re.findall(r'\w+', text.lower())
