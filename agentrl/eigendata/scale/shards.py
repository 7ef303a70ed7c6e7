"""Scale-up in shards: some tasks of one stream, filled in any order.

A shard is a function of the stage's `config.json` and `streams.json` and of its
own name, and leaves one file. So many processes or machines can fill shards,
and a stage that is started again fills only those that are missing. A shard
ends where its stream's acceptance drops within it; over all its shards `run.py`
looks at that, before it asks for more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import json
import math
import pathlib

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import evolve
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.envs import databases

Samples = list[sample_lib.Sample]


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
  """A number of tasks that are wanted of a stream.

  Attributes:
    split: `train` or `test`.
    wave: number of times that tasks were shared out before.
    stream: number of the stream among those of the split.
    part: number of the shard among those of its stream and wave.
    quota: tasks that are wanted.
  """

  split: str
  wave: int
  stream: int
  part: int
  quota: int

  @property
  def name(self) -> str:
    return f'{self.split}-{self.wave}-{self.stream:03d}-{self.part:03d}'


def allot(weights: Mapping[int, float], wanted: int, split: str, *, wave: int,
          size: int) -> list[Shard]:
  """Shares tasks out among streams by their weights.

  Args:
    weights: number of a stream -> its weight.
    wanted: number of tasks; the rest after rounding down goes to the largest
      fractions.
    split: split of the tasks.
    wave: number of times that this was done before.
    size: most tasks of a shard.
  """
  total = sum(weights.values())
  exact = {i: wanted * weight / total for i, weight in weights.items()}
  quotas = {i: int(share) for i, share in exact.items()}
  by_fraction = sorted(exact, key=lambda i: quotas[i] - exact[i])
  for i in by_fraction[:wanted - sum(quotas.values())]:
    quotas[i] += 1
  return [Shard(split, wave, i, part, min(size, quota - part * size))
          for i, quota in quotas.items()
          for part in range(-(-quota // size))]


def evolve_stream(folder: str, context: context_lib.Context, number: int
                  ) -> None:
  """Evolves one stream of `planned.json`, unless that was done; see
  `evolve.evolve`. Where its share of the budget ends, so does the last
  round."""
  target = pathlib.Path(folder, 'evolved', f'{number:03d}.json')
  if target.exists():
    return
  config = config_lib.of_folder(folder)
  planned = streams_lib.read(folder, 'planned.json')
  stream, rounds = evolve.evolve(context, planned['train'][number],
                                 config.evolve)
  # Apart: the cost depends on the cache, the rounds shall not.
  usage = [record.pop('usage') for record in rounds]
  files.write_json(target, {
      'streams': streams_lib.to_json({'train': [stream]}), 'rounds': rounds,
      'usage': usage, 'stopped': context.ledger.stopped})


def fill(folder: str, context: context_lib.Context, shard: Shard) -> None:
  """Fills a shard, unless it is there; goes on with one that the end of the
  budget cut off."""
  target = _path(folder, shard)
  if target.exists():
    return
  cut = target.with_suffix('.cut')
  stream = streams_lib.read(folder, 'streams.json')[shard.split][shard.stream]
  config = config_lib.of_folder(folder)
  samples = draw_samples(
      context, stream, shard, config, _read(cut) if cut.exists() else ())
  if samples and samples[-1].over_budget:
    target, samples = cut, samples[:-1]
  for task in (s.task for s in samples if s.task and s.task.database):
    tables = context.sources[task.domain].env.tables(**task.initial_state)
    databases.write(pathlib.Path(folder, databases.FOLDER), task.database,
                    tables)
  files.write_lines(target, map(jsons.dumps, samples))


def draw_samples(
    context: context_lib.Context, stream: streams_lib.Stream, shard: Shard,
    config: config_lib.Config, begun: Sequence[sample_lib.Sample] = ()
    ) -> Samples:
  """Draws samples in order until the quota is kept.

  Args:
    context: what all samples share.
    stream: stream of the shard.
    shard: shard with its quota.
    config: config of the run.
    begun: samples of the shard that were drawn before.

  Returns:
    the samples, the rejected ones among them; the last is `over_budget` if the
    budget was used up before.
  """
  samples = list(begun)
  seen = {s.task.scenario for s in samples if s.task}
  kept = len(seen)
  validate = config.validate or shard.split == 'test'
  for i in range(len(samples), math.ceil(config.max_tries * shard.quota)):
    sample = reject_repeated(sample_lib.draw(
        context, stream, shard.name, i, validate=validate), seen)
    samples.append(sample)
    kept += sample.task is not None
    if sample.over_budget or kept == shard.quota or acceptance_dropped(
        samples, config.monitor):
      break
  return samples


def acceptance_dropped(samples: Sequence[sample_lib.Sample],
                       monitor: config_lib.Monitor) -> bool:
  """Returns whether the first window of samples with a caller kept none, or a
  later window less than `floor` times as many."""
  window = monitor.window
  kept = [s.task is not None for s in samples if s.had_caller]
  first = sum(kept[:window])
  if not first:
    return len(kept) >= window
  return any(sum(kept[i:i + window]) < monitor.floor * first
             for i in range(window, len(kept) - window + 1, window))


def reject_repeated(sample: sample_lib.Sample, seen: set[str]
                    ) -> sample_lib.Sample:
  """Returns the sample, or a rejection if its scenario is among those `seen`,
  to which it is added."""
  if not sample.task:
    return sample
  scenario = sample.task.scenario
  if scenario in seen:
    return dataclasses.replace(
        sample, task=None, messages=(), rejection=types.Rejection(
            types.Worker.DUPLICATES, 'seen before', scenario))
  seen.add(scenario)
  return sample


def read(folder: str, shards: Iterable[Shard]) -> list[Samples]:
  """Reads the samples of each shard, or those that the budget sufficed for."""
  paths = [_path(folder, shard) for shard in shards]
  return [_read(path if path.exists() else path.with_suffix('.cut'))
          for path in paths]


def _read(path: pathlib.Path) -> Samples:
  return [jsons.from_json(sample_lib.Sample, json.loads(line))
          for line in path.read_text().splitlines()]


def interleave(shards: Sequence[Samples]) -> Iterator[sample_lib.Sample]:
  """Yields first samples first, so that a prefix has some of every shard."""
  for row in itertools.zip_longest(*shards):
    yield from (sample for sample in row if sample)


def _path(folder: str, shard: Shard) -> pathlib.Path:
  return pathlib.Path(folder, 'shards', f'{shard.name}.jsonl')
