"""The data stage: plans, streams that evolve, then samples until there are
enough; files and figures.

Writes `streams.json` (plans and prompts), `rounds.jsonl` (how they evolved),
`tasks_train.jsonl`, `tasks_test.jsonl`, the dialogues (`episodes/`),
`stats.json` for the report, and the manifest.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
import json
import multiprocessing
import signal
from typing import Any

import ml_collections
import tqdm

from agentrl import metrics
from agentrl import runs
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import certify
from agentrl.eigendata import evolve
from agentrl.eigendata import monitor
from agentrl.eigendata import planner
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata import statistics
from agentrl.eigendata import streams as streams_lib

SPLITS = ('train', 'test')
CHUNK = 8  # samples that a process takes at a time
BLOCK = 512  # samples between two looks at the streams


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
  with _mapper(config.processes) as mapper:
    streams, rounds = _evolve(
        config, {split: plan(maker, config, split) for split in SPLITS},
        mapper)
    written = streams_lib.dumps(streams)
    metrics.write_text(run.folder / 'streams.json', written)
    metrics.write_lines(run.folder / 'rounds.jsonl', map(json.dumps, rounds))
    found = {split: _collect(
        functools.partial(_job, text, written, split), mapper, split, config)
             for split in SPLITS}
  digest, files = _write(run.folder, found)
  stats = {split: statistics.describe(samples)
           for split, samples in found.items()}
  metrics.write_json(run.folder / 'stats.json', stats)
  run.finish(
      {episodes.FOLDER: digest}, files=files, prompts=prompts.load().version,
      seed=config.seed,
      environments={k: certify.fingerprint(e) for k, e in maker.envs.items()},
      **{split: {k: stats[split][k] for k in
                 ('kept', 'tried', 'rejected', 'repaired', 'mutants', 'floors',
                  'kinds')}
         for split in SPLITS})


def plan(maker: sample_lib.Maker, config: ml_collections.ConfigDict,
         split: str) -> list[streams_lib.Stream]:
  """The streams of a split as they start.

  Raises:
    ValueError: no plan was fit.
  """
  weights = {'train': config.demands_train, 'test': config.demands_test}[split]
  if split == 'test' and not config.num_test:
    return []
  families = {name: [f.__name__ for f in env.drafts.FAMILIES]
              for name, env in maker.envs.items()}
  author = prompts.Author(maker.llm, prompts.load())
  maker.llm.stage = 'WorkflowPlanner'
  plans = planner.write(author, families, split, weights,
                        pairs=config.plan_pairs,
                        seed=sample_lib.seed_of(config.seed, split, 'planner'))
  return [streams_lib.Stream(p, author.prompts, weight)
          for p, weight in zip(plans, planner.weigh(plans, weights))]


def _evolve(config: ml_collections.ConfigDict,
            streams: dict[str, list[streams_lib.Stream]], mapper: Any
            ) -> tuple[streams_lib.Streams, list[dict[str, Any]]]:
  """The streams of `train` after their rounds, and all rounds.

  Those of `test` keep their prompts: its tasks shall not depend on them.
  """
  if not config.evolve.rounds:
    return streams, []
  first = streams['train']
  job = functools.partial(_evolve_one, config.to_json_best_effort(),
                          streams_lib.dumps({'train': first}))
  grown, rounds = [], []
  with tqdm.tqdm(total=len(first), unit='stream', desc='evolution') as bar:
    for text, history in mapper(job, range(len(first)), chunk=1):
      grown += streams_lib.loads(text)['train']
      rounds += history
      bar.update()
      bar.set_postfix_str(f'{len(rounds)} rounds')
  return {**streams, 'train': grown}, rounds


def _evolve_one(config: str, streams: str, i: int
                ) -> tuple[str, list[dict[str, Any]]]:
  options = json.loads(config)['evolve']
  stream, history = evolve.evolve(
      sample_lib.maker(config), streams_lib.loads(streams)['train'][i],
      **options)
  return streams_lib.dumps({'train': [stream]}), history


@contextlib.contextmanager
def _mapper(processes: int) -> Iterator[Any]:
  """An ordered lazy map, over processes if there is more than one."""
  if processes <= 1:
    yield lambda job, numbers, chunk=CHUNK: map(job, numbers)
    return
  # The processes inherit that Ctrl-C is not for them.
  ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
  with multiprocessing.get_context('spawn').Pool(processes) as pool:
    signal.signal(signal.SIGINT, ours)
    yield functools.partial(_ordered, pool, 3 * processes)


def _ordered(pool: Any, ahead: int, job: Callable[[int], Any],
             numbers: Sequence[int], chunk: int = CHUNK) -> Iterator[Any]:
  """`pool.imap` that runs at most `ahead` chunks ahead: most numbers are
  never needed, and what stands in the queue is done all the same."""
  waiting = collections.deque()
  for start in range(0, len(numbers), chunk):
    some = numbers[start:start + chunk]
    waiting.append(pool.map_async(job, some, chunksize=chunk))
    if len(waiting) > ahead:
      yield from waiting.popleft().get()
  while waiting:
    yield from waiting.popleft().get()


def _job(config: str, streams: str, split: str, stopped: frozenset[str],
         i: int) -> sample_lib.Sample:
  live = [s for s in streams_lib.loads(streams)[split]
          if s.plan.id not in stopped]
  return sample_lib.make(sample_lib.maker(config), live, split, i)


def _collect(job: Callable[..., sample_lib.Sample], mapper: Any, split: str,
             config: ml_collections.ConfigDict) -> list[sample_lib.Sample]:
  """Samples in order until enough are kept, the rejected ones among them.

  Raises:
    ValueError: they ran out before.
  """
  wanted = {'train': config.num_train, 'test': config.num_test}[split]
  most = int(wanted * config.max_tries)
  found, seen, stopped = [], set(), frozenset()
  with tqdm.tqdm(total=wanted, unit='task', desc=f'data, {split}') as bar:
    for start in range(0, most, BLOCK):
      numbers = range(start, min(start + BLOCK, most))
      for sample in mapper(functools.partial(job, stopped), numbers):
        found.append(_unless_seen(sample, seen))
        bar.update(found[-1].task is not None)
        bar.set_postfix_str(f'{len(found)} tried', refresh=False)
        if bar.n == wanted:
          return found
      stopped = monitor.stopped(found, **config.monitor)
  if wanted:
    reasons = statistics.describe(found)['rejected']
    raise ValueError(
        f'Only {bar.n} of {wanted} tasks for {split} after {len(found)} '
        f'samples: raise config.max_tries. Rejected: {reasons}.')
  return found


def _unless_seen(sample: sample_lib.Sample, seen: set[str]
                 ) -> sample_lib.Sample:
  """The sample, or a rejection if its scenario was there before."""
  if not sample.task:
    return sample
  scenario = sample.task.scenario
  if scenario in seen:
    return sample_lib.Sample(worker='Duplicates', reason='seen before',
                             detail=scenario, stream=sample.stream)
  seen.add(scenario)
  return sample


def _write(folder: Any, found: dict[str, list[sample_lib.Sample]]
           ) -> tuple[str, dict[str, str]]:
  """Tasks as JSON lines, dialogues as a TFDS data set; see `episodes.write`."""
  for split, samples in found.items():
    metrics.write_lines(folder / f'tasks_{split}.jsonl', (
        types.dumps(s.task) for s in samples if s.task))
  return episodes.write(folder, (
      episodes.record(s.task, s.messages, {'repaired': s.repaired})
      for s in found['train'] if s.task))
