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

import collections
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import itertools
import json
import shutil
from typing import Any

import ml_collections
import tqdm

from agentrl import files
from agentrl import jsons
from agentrl import resolve
from agentrl import seeds
from agentrl.data import episodes
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import held_out as guards
from agentrl.eigendata.plan import feedback
from agentrl.eigendata.plan import planner
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.eigendata.scale import runners
from agentrl.eigendata.scale import shards as shards_lib
from agentrl.eigendata.scale import statistics
from agentrl.envs import databases
from agentrl.envs.tau2 import task_format as tau2_form
from agentrl.llm import budget
from agentrl.llm import build
from agentrl.llm import llm as llm_lib
from agentrl.stage import fields
from agentrl.stage import runs

# What the plans took, and what was paid in all, until the run is over.
PLANNING, PAID = 'evolved/planner.json', 'evolved/paid.json'
MORE = ('Raise config.llm_account.dollars or .tokens and start again in this '
        'folder: what was paid for is kept.')
PAIRS = 64  # plans of `test`: its tasks do not depend on how data are made


@dataclasses.dataclass(frozen=True)
class Evolve:
  """Arguments of `evolve.evolve`."""

  rounds: int
  pilot: int
  audit: int
  patience: int
  target: float


@dataclasses.dataclass(frozen=True)
class Monitor:
  """Arguments of `shards.fell`."""

  window: int
  floor: float


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of the config; configs/eigendata/builtin.py explains them."""

  seed: int
  domains: tuple[str, ...]
  env: Mapping[str, Any]
  databases: int
  num_train: int
  num_test: int
  demands_train: tuple[float, ...]
  demands_test: tuple[float, ...]
  other_share: float
  max_tries: int
  if_short: str
  drop_flagged: bool
  feedback: str
  plan_pairs: int
  validate: bool
  evolve: Evolve
  monitor: Monitor
  shard_size: int
  runner: str
  runner_kw: Mapping[str, Any]
  workers: int
  llm: str
  llm_kw: Mapping[str, Any]
  llm_roles: Mapping[str, Mapping[str, Any]]
  llm_account: build.Account


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return fields.read(Config, config, name=name)


def synthesize(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Makes certified tasks and dialogues; see configs/eigendata/builtin.py.

  A run whose budget is used up ends with what it has, and its manifest says so;
  with `config.if_short='keep'` so does one whose tries are. One that stopped
  otherwise goes on in its folder, and keeps nothing of what was under way. It
  may go on with another `config.llm_account`, the caps of which hold for all
  its starts together.

  Raises:
    ValueError: a wrong config, or too few samples were good.
    llm.Unavailable: the LLM did not answer.
  """
  config = read_config(config)
  for kw in (config.llm_kw, *config.llm_roles.values()):
    for name in {'key', 'url'} & set(kw):
      resolve.variable(kw[name])  # before the config is written down
  run = runs.start(workdir, 'data', config, {
      'feedback': config.feedback} if config.feedback else {},
                   may_change='llm_account')
  if run.done:
    return
  maker = shards_lib.maker(str(run.folder))
  if config.if_short not in ('error', 'keep'):
    raise ValueError("config.if_short must be 'error' or 'keep', got "
                     f'{config.if_short!r}: say whether a run that finds too '
                     'few good tasks fails, or ends with those it has.')
  ledger = maker.ledger
  runner = _runner(config, ledger)
  failures = feedback.read(config.feedback) if config.feedback else {}
  wanted = {'train': config.num_train, 'test': config.num_test}
  ledger.keep(run.folder / PAID)
  try:
    if not (run.folder / 'planned.json').exists():
      _plan_all(run, config, maker, failures)
    # Closed first: the pool waits for its threads, which must not go on paying.
    with runner as run_all, contextlib.closing(ledger):
      with ledger.evolving():
        streams, cut = _evolve(run, config.evolve.rounds, run_all)
      found = {split: _collect(run, run_all, split, streams.get(split, ()),
                               wanted=count, config=config, ledger=ledger)
               for split, count in wanted.items()}
  finally:
    sample_lib.maker.cache_clear()
  _finish(run, config, maker, found, stopped=ledger.stopped,
          evolution_stopped=cut, feedback=failures,
          plans={split: planner.overlaps([s.plan for s in planned])
                 for split, planned in streams.items()})


def _runner(config: Config, ledger: budget.Ledger
            ) -> contextlib.AbstractContextManager[runners.RunAll]:
  """Who makes the shards.

  Raises:
    ValueError: processes that would each have the whole budget.
  """
  runner = resolve.name(config.runner)
  alone = runner is runners.processes and config.workers == 1
  if ledger.models and runner is not runners.threads and not alone:
    raise ValueError(
        f'config.runner={config.runner!r} is for an LLM that computes: '
        f'{", ".join(sorted(ledger.models))} has limits and a budget, '
        'which hold within one process. Set config.runner to '
        'agentrl.eigendata.scale.runners:threads.')
  return resolve.call(runner, {'workers': config.workers, **config.runner_kw})


def _plan_all(run: runs.Run, config: Config, maker: sample_lib.Maker,
              failures: Mapping[str, Any]) -> None:
  """Writes the streams of both splits as they start, and what that took.

  Raises:
    ValueError: see `plan`; before anybody is asked if no plan can be.
  """
  weights = {split: demands for split, wanted, demands in (
      ('train', config.num_train, config.demands_train),
      ('test', config.num_test, config.demands_test)) if wanted}
  for split, demands in weights.items():
    planner.sizes(_families(maker), split, demands)
  maker.llm.usage.clear()
  planned = {
      split: plan(maker, weights[split], pairs, split, failures_)
      for split, pairs, failures_ in (
          ('train', config.plan_pairs, failures), ('test', PAIRS, {}))
      if split in weights}
  files.write_json(run.folder / PLANNING, jsons.to_json(maker.llm.usage))
  files.write_json(run.folder / 'planned.json', streams_lib.to_json(planned))


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
  try:
    plans = planner.write(
        author, _families(maker), split, weights, pairs=pairs,
        known={name: planner.about(env) for name, env in maker.envs.items()},
        seed=seeds.seed_of(maker.seed, split, 'planner'))
  except llm_lib.OverBudget as e:
    raise ValueError(f'Not even the plans could be paid: {e}. {MORE}') from e
  plans = feedback.weigh(plans, failures) if failures else plans
  return [streams_lib.Stream(p, author.prompts, weight)
          for p, weight in zip(plans, planner.weigh(plans, weights))]


def _families(maker: sample_lib.Maker) -> dict[str, Sequence[str]]:
  return {name: env.aims() for name, env in maker.envs.items()}


def _evolve(run: runs.Run, rounds: int, run_all: runners.RunAll
            ) -> tuple[streams_lib.Streams, dict[str, str]]:
  """The streams that write, those of `train` after their rounds; and those
  whose rounds ended when their share of the budget did, with the reason.

  Those of `test` keep their prompts: its tasks shall not depend on them.
  """
  folder = str(run.folder)
  streams = dict(streams_lib.read(folder, 'planned.json'))
  history, cut = [], {}
  if rounds and 'train' in streams:
    numbers = range(len(streams['train']))
    with tqdm.tqdm(total=len(numbers), unit='stream', desc='evolution') as bar:
      run_all(functools.partial(shards_lib.evolve_stream, folder), numbers,
              bar.update)
    evolved = [files.read_json(run.folder / 'evolved' / f'{i:03d}.json')
               for i in numbers]
    streams['train'] = [stream for e in evolved for stream in
                        streams_lib.from_json(e['streams'])['train']]
    history = [record for e in evolved for record in e['rounds']]
    cut = {stream.plan.id: e['stopped']
           for stream, e in zip(streams['train'], evolved) if e['stopped']}
  files.write_lines(run.folder / 'rounds.jsonl', map(json.dumps, history))
  files.write_json(run.folder / 'streams.json', streams_lib.to_json(streams))
  return streams, cut


def _collect(run: runs.Run, run_all: runners.RunAll, split: str,
             streams: Sequence[streams_lib.Stream], *, wanted: int,
             config: Config, ledger: budget.Ledger) -> list[sample_lib.Sample]:
  """The samples of a split, the rejected ones among them.

  Raises:
    ValueError: too few were good, though every stream had its tries, or the
      budget was used up before any was.
  """
  folder, found, seen, missing = str(run.folder), [], set(), wanted
  live = {i: stream.weight for i, stream in enumerate(streams)}
  by_stream = collections.defaultdict(list)
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
        by_stream[shard.stream] += samples
      monitor = dataclasses.asdict(config.monitor)
      live = {i: weight for i, weight in live.items()
              if not shards_lib.fell(by_stream[i], **monitor)}
  enough = config.if_short == 'keep' or (
      ledger.stopped and (missing < wanted or split == 'test'))
  if missing and not enough:
    reasons = statistics.describe(found)['rejected']
    why = (f'{ledger.stopped}. {MORE}' if ledger.stopped else
           'raise config.max_tries, or set if_short=keep.' if live else
           'every stream was stopped by config.monitor. Mend what rejects, or '
           'set if_short=keep.')
    raise ValueError(
        f'Only {wanted - missing} of {wanted} tasks for {split} after '
        f'{len(found)} samples: {why} Rejected: {reasons}.')
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


def _finish(run: runs.Run, config: Config, maker: sample_lib.Maker,
            found: dict[str, list[sample_lib.Sample]], *, stopped: str,
            **facts: Any) -> None:
  """What passes the gates goes to files, `facts` into the manifest too."""
  held = {name: guards.of_run(env, (
      s.task for s in found['test'] if s.task and s.task.domain == name))
          for name, env in maker.envs.items()}
  found['train'], flagged = guards.guard(
      found['train'], held, maker.envs, drop_flagged=config.drop_flagged)
  digest, shards = _write(run.folder, found)
  snapshots = sorted({s.task.database for samples in found.values()
                      for s in samples
                      if s.task and s.task.database})
  databases.prune(run.folder / databases.FOLDER, snapshots)
  wanted = {'train': config.num_train, 'test': config.num_test}
  if short := [f'{split}: {kept} of {wanted[split]}' for split, kept in (
      (split, sum(s.task is not None for s in samples))
      for split, samples in found.items()) if kept < wanted[split]]:
    stopped = stopped or f'fewer than wanted ({"; ".join(short)})'
  stats = {split: statistics.describe(samples)
           for split, samples in found.items()}
  files.write_json(run.folder / 'stats.json', stats)
  run.finish(
      {episodes.FOLDER: digest}, files=shards, prompts=prompts.load().version,
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
  evolved = map(files.read_json,
                sorted((run.folder / 'evolved').glob('[0-9]*.json')))
  return [{stage: llm_lib.Usage(**use) for stage, use in record.items()}
          for record in (files.read_json(run.folder / PLANNING),
                         *(use for e in evolved for use in e['usage']))]


def _write(folder: Any, found: dict[str, list[sample_lib.Sample]]
           ) -> tuple[str, dict[str, str]]:
  """Tasks as JSON lines and in the form of tau2-bench, dialogues as a TFDS data
  set; see `episodes.write`."""
  for split, samples in found.items():
    tasks = [s.task for s in samples if s.task]
    files.write_lines(folder / f'tasks_{split}.jsonl',
                        map(jsons.dumps, tasks))
    tau2_form.write(folder, split, tasks)
  records = [episodes.record(s.task, s.messages, {
      'repaired': [r.name for r in s.repaired]})
             for s in found['train'] if s.task]
  return episodes.write(folder, records) if records else ('', {})
