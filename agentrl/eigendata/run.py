"""The data stage: writes plans, evolves streams, then fills shards until enough
samples are kept.

Writes `planned.json` and `streams.json` (plans and prompts, before and after
evolution), `rounds.jsonl` (the rounds of evolution), the databases of tasks
(`databases/`), and the files of every data stage (`output.py`). A run that is
stopped and started again goes on.
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
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import output
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.check import held_out
from agentrl.eigendata.plan import feedback
from agentrl.eigendata.plan import planner
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.eigendata.scale import runners
from agentrl.eigendata.scale import shards as shards_lib
from agentrl.eigendata.scale import statistics
from agentrl.llm import budget
from agentrl.llm import llm as llm_lib
from agentrl.stage import runs

# Files with the cost of the plans, and all payments, until the run is over.
PLANNING, PAID = 'evolved/planner.json', 'evolved/paid.json'
MORE = ('Raise config.llm_account.dollars or .tokens and start again in this '
        'folder: what was paid for is kept.')
PAIRS = 64  # plans of `test`: its tasks do not depend on how data are made


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> config_lib.Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return config_lib.read(config, name)


def synthesize(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Makes certified tasks and dialogues; see configs/eigendata/builtin.py.

  A run that has used up its budget ends with the samples it has, and its
  manifest says so; with `config.if_short='keep'`, so does one that has used up
  its tries. A run that stopped otherwise goes on in its folder, and loses
  samples under way. It may go on with another `config.llm_account`, the limits
  of which hold for all its starts together.

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
  context = context_lib.make(config)
  if config.if_short not in ('error', 'keep'):
    raise ValueError("config.if_short must be 'error' or 'keep', got "
                     f'{config.if_short!r}: say whether a run that finds too '
                     'few good tasks fails, or ends with those it has.')
  ledger = context.ledger
  runner = _runner(config, context, str(run.folder))
  failures = feedback.read(config.feedback) if config.feedback else {}
  wanted = {'train': config.num_train, 'test': config.num_test}
  ledger.keep(run.folder / PAID)
  if not (run.folder / 'planned.json').exists():
    _plan_all(run, config, context, failures)
  # Closed first: the pool waits for its threads, which must not go on paying.
  with runner as run_all, contextlib.closing(ledger):
    with ledger.evolving():
      streams, cut = _evolve(run, config.evolve.rounds, run_all)
    samples = {split: _collect(run, run_all, split, streams.get(split, ()),
                               wanted=count, config=config, ledger=ledger)
               for split, count in wanted.items()}
  _finish(run, config, context, samples, stopped=ledger.stopped,
          evolution_stopped=cut, feedback=failures,
          plans={split: planner.overlaps([s.plan for s in planned])
                 for split, planned in streams.items()})


def _runner(config: config_lib.Config, context: context_lib.Context,
            folder: str) -> contextlib.AbstractContextManager[runners.RunAll]:
  """Returns the runner of the shards.

  Raises:
    ValueError: processes that would each have the whole budget.
  """
  runner = resolve.name(config.runner)
  alone = runner is runners.processes and config.workers == 1
  ledger = context.ledger
  if ledger.models and runner is not runners.threads and not alone:
    raise ValueError(
        f'config.runner={config.runner!r} is for an LLM that computes: '
        f'{", ".join(sorted(ledger.models))} has limits and a budget, '
        'which hold within one process. Set config.runner to '
        'agentrl.eigendata.scale.runners:threads.')
  return resolve.call(runner, {
      'context': context, 'folder': folder, 'workers': config.workers,
      **config.runner_kw})


def _plan_all(run: runs.Run, config: config_lib.Config,
              context: context_lib.Context, failures: Mapping[str, Any]
              ) -> None:
  """Writes the first streams of both splits, and the cost of planning.

  Raises:
    ValueError: see `plan`; before any call if no plan can be written.
  """
  weights = {split: demands for split, wanted, demands in (
      ('train', config.num_train, config.demands_train),
      ('test', config.num_test, config.demands_test)) if wanted}
  for split, demands in weights.items():
    planner.sizes(_families(context), split, demands)
  context.llm.usage.clear()
  planned = {
      split: plan(context, weights[split], pairs, split, failures_)
      for split, pairs, failures_ in (
          ('train', config.plan_pairs, failures), ('test', PAIRS, {}))
      if split in weights}
  files.write_json(run.folder / PLANNING, jsons.to_json(context.llm.usage))
  files.write_json(run.folder / 'planned.json', streams_lib.to_json(planned))


def plan(context: context_lib.Context, weights: Sequence[float], pairs: int,
         split: str, failures: Mapping[str, Any]) -> list[streams_lib.Stream]:
  """Returns the first streams of a split.

  Args:
    context: what all samples share.
    weights: weights of tasks with 1, 2, ... demands.
    pairs: most plans.
    split: split of the plans.
    failures: failures of a student, see `feedback.read`; {} for none.

  Raises:
    ValueError: no plan was fit, or could be paid for.
  """
  writer = prompts.Writer(context.llm, prompts.load())
  try:
    plans = planner.write(
        writer, _families(context), split, weights, pairs=pairs,
        known={name: source_lib.describe(env)
               for name, env in context.envs.items()},
        seed=seeds.seed_of(context.seed, split, 'planner'))
  except llm_lib.OverBudget as e:
    raise ValueError(f'Not even the plans could be paid: {e}. {MORE}') from e
  plans = feedback.weigh(plans, failures) if failures else plans
  return [streams_lib.Stream(p, writer.prompts, weight)
          for p, weight in zip(plans, planner.weigh(plans, weights))]


def _families(context: context_lib.Context) -> dict[str, Sequence[str]]:
  return {name: source.families() for name, source in context.sources.items()}


def _evolve(run: runs.Run, rounds: int, run_all: runners.RunAll
            ) -> tuple[streams_lib.Streams, dict[str, str]]:
  """Returns the streams that draw samples, those of `train` after their rounds;
  and name -> reason of those whose rounds ended with the budget for evolution.

  Streams of `test` keep their prompts, so that its tasks do not depend on them.
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
             config: config_lib.Config, ledger: budget.Ledger
             ) -> list[sample_lib.Sample]:
  """Returns the samples of a split, the rejected ones among them.

  Raises:
    ValueError: too few were kept, though every stream had its tries, or the
      budget was used up before any was.
  """
  folder, samples, seen, missing = str(run.folder), [], set(), wanted
  live = {i: stream.weight for i, stream in enumerate(streams)}
  by_stream = collections.defaultdict(list)
  with tqdm.tqdm(total=wanted, unit='task', desc=f'data, {split}') as bar:
    for wave in itertools.count():  # each draws as many as are missing
      if ledger.stopped or not (
          missing and live and len(samples) < wanted * config.max_tries):
        break
      todo = shards_lib.allot(live, missing, split, wave=wave,
                              size=config.shard_size)
      run_all(functools.partial(shards_lib.fill, folder), todo,
              functools.partial(_tick, bar, bar.n, missing, len(todo),
                                itertools.count(1)))
      made = shards_lib.read(folder, todo)
      samples += [shards_lib.reject_repeated(sample, seen)
                  for sample in shards_lib.interleave(made)]
      missing = wanted - sum(s.task is not None for s in samples)
      bar.n = wanted - missing
      bar.set_postfix_str(f'{len(samples)} tried')
      for shard, drawn in zip(todo, made):
        by_stream[shard.stream] += drawn
      live = {i: weight for i, weight in live.items()
              if not shards_lib.acceptance_dropped(by_stream[i],
                                                   config.monitor)}
  enough = config.if_short == 'keep' or (
      ledger.stopped and (missing < wanted or split == 'test'))
  if missing and not enough:
    reasons = statistics.describe(samples)['rejected']
    why = (f'{ledger.stopped}. {MORE}' if ledger.stopped else
           'raise config.max_tries, or set if_short=keep.' if live else
           'every stream was stopped by config.monitor. Mend what rejects, or '
           'set if_short=keep.')
    raise ValueError(
        f'Only {wanted - missing} of {wanted} tasks for {split} after '
        f'{len(samples)} samples: {why} Rejected: {reasons}.')
  return _named(samples, split)


def _tick(bar: tqdm.tqdm, start: int, missing: int, shards: int,
          done: Iterator[int]) -> None:
  """Shows another shard as done, as if all were of the same size."""
  bar.n = start + missing * next(done) // shards
  bar.refresh()


def _named(samples: Sequence[sample_lib.Sample], split: str
           ) -> list[sample_lib.Sample]:
  """Returns the samples with task names in order, whatever their shard."""
  named, number = [], 0
  for sample in samples:
    if sample.task:
      name = f'{sample.task.domain}-{split}-{number:05d}'
      sample = dataclasses.replace(
          sample, task=dataclasses.replace(sample.task, id=name))
      number += 1
    named.append(sample)
  return named


def _finish(run: runs.Run, config: config_lib.Config,
            context: context_lib.Context,
            found: dict[str, list[sample_lib.Sample]], *, stopped: str,
            **facts: Any) -> None:
  """What passes the gates goes to files, `facts` into the manifest too."""
  held = {name: held_out.of_run(env, (
      s.task for s in found['test'] if s.task and s.task.domain == name))
          for name, env in context.envs.items()}
  found, flagged = output.gate(found, held, context.envs,
                               drop_flagged=config.drop_flagged)
  wanted = {'train': config.num_train, 'test': config.num_test}
  if short := [f'{split}: {kept} of {wanted[split]}' for split, kept in (
      (split, sum(s.task is not None for s in samples))
      for split, samples in found.items()) if kept < wanted[split]]:
    stopped = stopped or f'fewer than wanted ({"; ".join(short)})'
  output.write(
      run, found, context.envs, prompts=prompts.load().version,
      seed=config.seed, flagged=flagged, stopped=stopped,
      cost=statistics.cost(found, context.ledger, _before(run)), **facts)
  for name in ('evolved', 'shards'):  # all of it stands in the files above
    shutil.rmtree(run.folder / name, ignore_errors=True)


def _before(run: runs.Run) -> list[Mapping[str, llm_lib.Usage]]:
  """Reads the usage of planning and of each round of evolution, by stage."""
  evolved = map(files.read_json,
                sorted((run.folder / 'evolved').glob('[0-9]*.json')))
  return [{stage: llm_lib.Usage(**use) for stage, use in record.items()}
          for record in (files.read_json(run.folder / PLANNING),
                         *(use for e in evolved for use in e['usage']))]
