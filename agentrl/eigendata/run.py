"""The data stage: plans, streams that evolve, then shards until there is
enough; files and figures.

Writes `planned.json` and `streams.json` (plans and prompts, before and after
evolution), `rounds.jsonl` (how they evolved), `tasks_train.jsonl`,
`tasks_test.jsonl`, both in the form of tau2-bench too (`tau2_form.py`), the
databases that they start from (`databases/`), the dialogues (`episodes/`),
`stats.json` for the report, and the manifest. Stopped at any time and started
again it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import itertools
import json
import shutil
from typing import Any

import ml_collections
import tqdm

from agentrl import metrics
from agentrl import resolve
from agentrl import runs
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import certify
from agentrl.eigendata import feedback
from agentrl.eigendata import guards
from agentrl.eigendata import planner
from agentrl.eigendata import prompts
from agentrl.eigendata import runners
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata import shards as shards_lib
from agentrl.eigendata import statistics
from agentrl.eigendata import streams as streams_lib
from agentrl.envs import databases
from agentrl.envs import tau2_form
from agentrl.llm import budget
from agentrl.llm import llm as llm_lib

PLANNING = 'evolved/planner.json'  # what the plans took, until the run is over
PAIRS = 64  # plans of `test`: its tasks do not depend on how data are made


def synthesize(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Makes certified tasks and dialogues; see configs/eigendata/builtin.py.

  A run whose budget is used up ends with what it has, and its manifest says so;
  with `config.if_short='keep'` so does one whose tries are.

  Raises:
    ValueError: a wrong config, or too few samples were good.
    llm.Unavailable: the LLM did not answer.
  """
  run = runs.start(workdir, 'data', config, {
      'feedback': config.feedback} if config.feedback else {})
  if run.done:
    return
  maker = shards_lib.maker(str(run.folder))
  if config.if_short not in ('error', 'keep'):
    raise ValueError("config.if_short must be 'error' or 'keep', got "
                     f'{config.if_short!r}: say whether a run that finds too '
                     'few good tasks fails, or ends with those it has.')
  if maker.ledger.models and config.workers > 1 and (
      resolve.name(config.runner) is not runners.threads):
    raise ValueError(
        f'config.runner={config.runner!r} is for an LLM that computes: '
        f'{", ".join(sorted(maker.ledger.models))} has limits and a budget, '
        'which hold within one process. Set config.runner to '
        'agentrl.eigendata.runners:threads.')
  runner = resolve.call(resolve.name(config.runner), {
      'workers': config.workers, **config.runner_kw})
  failures = feedback.read(config.feedback) if config.feedback else {}
  wanted = {'train': config.num_train, 'test': config.num_test}
  if not (run.folder / 'planned.json').exists():
    _plan_all(run, config, maker, failures)
  ledger = maker.ledger
  try:
    with runner as run_all:
      streams = _evolve(run, config.evolve.rounds, run_all)
      found = {split: _collect(run, run_all, split, streams.get(split, ()),
                               wanted=count, config=config, ledger=ledger)
               for split, count in wanted.items()}
  finally:
    stopped = ledger.stopped
    ledger.stop('the run is over')  # for samples that nobody waits for
    sample_lib.maker.cache_clear()
  _finish(run, config, maker, found, stopped=stopped, feedback=failures)


def _plan_all(run: runs.Run, config: ml_collections.ConfigDict,
              maker: sample_lib.Maker, failures: Mapping[str, Any]) -> None:
  """Writes the streams of both splits as they start, and what that took.

  Raises:
    ValueError: see `plan`; before anybody is asked if no plan can be.
  """
  demands = {'train': config.demands_train, 'test': config.demands_test}
  splits = [split for split in demands if config[f'num_{split}']]
  for split in splits:
    planner.sizes(_families(maker), split, demands[split])
  maker.llm.usage.clear()
  planned = {
      split: plan(maker, demands[split], pairs, split, failures_)
      for split, pairs, failures_ in (
          ('train', config.plan_pairs, failures), ('test', PAIRS, {}))
      if split in splits}
  metrics.write_json(run.folder / PLANNING, types.to_json(maker.llm.usage))
  metrics.write_json(run.folder / 'planned.json', streams_lib.to_json(planned))


def plan(maker: sample_lib.Maker, weights: Sequence[float], pairs: int,
         split: str, failures: Mapping[str, Any]) -> list[streams_lib.Stream]:
  """The streams of a split as they start.

  Args:
    maker: what all samples share.
    weights: of tasks with 1, 2, .. demands.
    pairs: the most plans.
    split: of the plans.
    failures: what a student fails at, see `feedback.read`; {} for none.

  Raises:
    ValueError: no plan was fit, or could be paid.
  """
  author = prompts.Author(maker.llm, prompts.load())
  maker.llm.stage = 'WorkflowPlanner'
  try:
    plans = planner.write(
        author, _families(maker), split, weights, pairs=pairs,
        seed=sample_lib.seed_of(maker.seed, split, 'planner'))
  except llm_lib.OverBudget as e:
    raise ValueError(f'Not even the plans could be paid: {e}.') from e
  plans = feedback.weigh(plans, failures) if failures else plans
  return [streams_lib.Stream(p, author.prompts, weight)
          for p, weight in zip(plans, planner.weigh(plans, weights))]


def _families(maker: sample_lib.Maker) -> dict[str, Sequence[str]]:
  return {name: env.aims() for name, env in maker.envs.items()}


def _evolve(run: runs.Run, rounds: int,
            run_all: runners.RunAll) -> streams_lib.Streams:
  """The streams that write, those of `train` after their rounds.

  Those of `test` keep their prompts: its tasks shall not depend on them.
  """
  folder = str(run.folder)
  streams, history = dict(streams_lib.read(folder, 'planned.json')), []
  if rounds:
    numbers = range(len(streams['train']))
    with tqdm.tqdm(total=len(numbers), unit='stream', desc='evolution') as bar:
      run_all(functools.partial(shards_lib.evolve_stream, folder), numbers,
              bar.update)
    evolved = [metrics.read_json(run.folder / 'evolved' / f'{i:03d}.json')
               for i in numbers]
    streams['train'] = [stream for e in evolved for stream in
                        streams_lib.from_json(e['streams'])['train']]
    history = [record for e in evolved for record in e['rounds']]
  metrics.write_lines(run.folder / 'rounds.jsonl', map(json.dumps, history))
  metrics.write_json(run.folder / 'streams.json', streams_lib.to_json(streams))
  return streams


def _collect(run: runs.Run, run_all: runners.RunAll, split: str,
             streams: Sequence[streams_lib.Stream], *, wanted: int,
             config: ml_collections.ConfigDict, ledger: budget.Ledger
             ) -> list[sample_lib.Sample]:
  """The samples of a split, the rejected ones among them.

  Raises:
    ValueError: too few were good, though every stream had its tries, or the
      budget was used up before any was.
  """
  folder, found, seen, missing = str(run.folder), [], set(), wanted
  live = {i: stream.weight for i, stream in enumerate(streams)}
  with tqdm.tqdm(total=wanted, unit='task', desc=f'data, {split}') as bar:
    for wave in itertools.count():  # each makes what is missing after the last
      if ledger.stopped or not (
          missing and live and len(found) < wanted * config.max_tries):
        break
      todo = shards_lib.allot(live, missing, split, wave=wave,
                              size=config.shard_size)
      run_all(functools.partial(shards_lib.make, folder), todo,
              functools.partial(_tick, bar, bar.n, missing, len(todo),
                                itertools.count(1)))
      made = shards_lib.read(folder, todo)
      found += [shards_lib.unless_seen(sample, seen)
                for sample in shards_lib.interleave(made)]
      missing = wanted - sum(s.task is not None for s in found)
      bar.n = wanted - missing
      bar.set_postfix_str(f'{len(found)} tried')
      for shard, samples in zip(todo, made):
        if shards_lib.fell(samples, **config.monitor):
          live.pop(shard.stream, None)
  enough = config.if_short == 'keep' or (
      ledger.stopped and (missing < wanted or split == 'test'))
  if missing and not enough:
    reasons = statistics.describe(found)['rejected']
    raise ValueError(
        f'Only {wanted - missing} of {wanted} tasks for {split} after '
        f'{len(found)} samples: '
        f'{ledger.stopped or "raise config.max_tries, or set if_short=keep"}. '
        f'Rejected: {reasons}.')
  return _named(found, split)


def _tick(bar: tqdm.tqdm, start: int, missing: int, shards: int,
          done: Iterator[int]) -> None:
  """Shows another shard as done, as if each brought the same."""
  bar.n = start + missing * next(done) // shards
  bar.refresh()


def _named(samples: Sequence[sample_lib.Sample], split: str
           ) -> list[sample_lib.Sample]:
  """With names in order for the tasks, whichever shard they come from."""
  named, number = [], 0
  for sample in samples:
    if sample.task:
      name = f'{sample.task.domain}-{split}-{number:05d}'
      sample = dataclasses.replace(
          sample, task=dataclasses.replace(sample.task, id=name))
      number += 1
    named.append(sample)
  return named


def _finish(run: runs.Run, config: ml_collections.ConfigDict,
            maker: sample_lib.Maker,
            found: dict[str, list[sample_lib.Sample]], *, stopped: str,
            **facts: Any) -> None:
  """What passes the gates goes to files, `facts` into the manifest too."""
  held = {name: guards.of_run(env, (
      s.task for s in found['test'] if s.task and s.task.domain == name))
          for name, env in maker.envs.items()}
  found['train'], flagged = guards.guard(
      found['train'], held, maker.envs, drop_flagged=config.drop_flagged)
  digest, files = _write(run.folder, found)
  snapshots = sorted({s.task.meta['database'] for samples in found.values()
                      for s in samples
                      if s.task and 'database' in s.task.meta})
  databases.prune(run.folder / databases.FOLDER, snapshots)
  wanted = {'train': config.num_train, 'test': config.num_test}
  if short := [f'{split}: {kept} of {wanted[split]}' for split, kept in (
      (split, sum(s.task is not None for s in samples))
      for split, samples in found.items()) if kept < wanted[split]]:
    stopped = stopped or f'fewer than wanted ({"; ".join(short)})'
  stats = {split: statistics.describe(samples)
           for split, samples in found.items()}
  metrics.write_json(run.folder / 'stats.json', stats)
  run.finish(
      {episodes.FOLDER: digest}, files=files, prompts=prompts.load().version,
      seed=config.seed, flagged=flagged, stopped=stopped,
      cost=statistics.cost(found, maker.ledger, _before(run)), **facts,
      databases=snapshots,
      environments={k: certify.fingerprint(e) for k, e in maker.envs.items()},
      **{split: {k: stats[split][k] for k in
                 ('kept', 'tried', 'rejected', 'repaired', 'mutants', 'floors',
                  'kinds')}
         for split in found})
  for name in ('evolved', 'shards'):  # all of it stands in the files above
    shutil.rmtree(run.folder / name, ignore_errors=True)


def _before(run: runs.Run) -> list[Mapping[str, llm_lib.Usage]]:
  """What planning and each round of evolution took, by stage."""
  rounds = (run.folder / 'rounds.jsonl').read_text().splitlines()
  return [{stage: llm_lib.Usage(**use) for stage, use in record.items()}
          for record in (metrics.read_json(run.folder / PLANNING),
                         *(json.loads(line)['usage'] for line in rounds))]


def _write(folder: Any, found: dict[str, list[sample_lib.Sample]]
           ) -> tuple[str, dict[str, str]]:
  """Tasks as JSON lines and in the form of tau2-bench, dialogues as a TFDS data
  set; see `episodes.write`."""
  for split, samples in found.items():
    tasks = [s.task for s in samples if s.task]
    metrics.write_lines(folder / f'tasks_{split}.jsonl',
                        map(types.dumps, tasks))
    tau2_form.write(folder, split, tasks)
  records = [episodes.record(s.task, s.messages, {'repaired': s.repaired})
             for s in found['train'] if s.task]
  return episodes.write(folder, records) if records else ('', {})
