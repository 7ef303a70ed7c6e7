"""Scale-up in shards: some tasks of one stream, made by anyone, in any order.

A shard is a function of the stage's `config.json` and `streams.json` and of its
own name, and leaves one file. So shards can be made by many processes or
machines, and a stage that is started again makes only those that are missing.
A shard ends where its stream's acceptance falls within it; over all its shards
`run.py` looks at that, before it asks for more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import json
import math
import pathlib
from typing import Any

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.eigendata import evolve
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.envs import databases
from agentrl.envs import domain

Samples = list[sample_lib.Sample]


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
  """Part `part` of what stream `stream` of a split is to make in a wave."""

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
  """Shares tasks out among streams as their weights say.

  Args:
    weights: of the streams, by their number.
    wanted: tasks; what is left after rounding down goes to the largest
      fractions.
    split: of the tasks.
    wave: how often this was done before.
    size: tasks of a shard, at most.
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


def evolve_stream(folder: str, number: int) -> None:
  """Evolves one stream of `planned.json`; see `evolve.evolve`. When the share
  of the budget ends it, it has ended as after its last round."""
  target = pathlib.Path(folder, 'evolved', f'{number:03d}.json')
  if target.exists():
    return
  planned = streams_lib.read(folder, 'planned.json')
  m = maker(folder)
  stream, rounds = evolve.evolve(m, planned['train'][number],
                                 **_config(folder)['evolve'])
  # Apart: what was paid depends on the cache, the rounds shall not.
  usage = [record.pop('usage') for record in rounds]
  files.write_json(target, {
      'streams': streams_lib.to_json({'train': [stream]}), 'rounds': rounds,
      'usage': usage, 'stopped': m.ledger.stopped})


def make(folder: str, shard: Shard) -> None:
  """Makes a shard, unless it is there; goes on with one that the end of the
  budget cut off."""
  target = _path(folder, shard)
  if target.exists():
    return
  cut = target.with_suffix('.cut')
  stream = streams_lib.read(folder, 'streams.json')[shard.split][shard.stream]
  c = _config(folder)
  m = maker(folder)
  samples = produce(
      m, stream, shard, c['max_tries'], **c['monitor'],
      validate=c['validate'] or shard.split == 'test',
      begun=_read(cut) if cut.exists() else ())
  if samples and samples[-1].over_budget:
    target, samples = cut, samples[:-1]
  for task in (s.task for s in samples if s.task):
    env = m.envs[task.domain]
    if isinstance(env, domain.Domain):  # others bring their databases along
      databases.write(pathlib.Path(folder, databases.FOLDER),
                      task.database, env.tables(**task.initial_state))
  files.write_lines(target, map(jsons.dumps, samples))


def produce(m: sample_lib.Maker, stream: streams_lib.Stream, shard: Shard,
            max_tries: float, *, window: int, floor: float,
            validate: bool = True,
            begun: Sequence[sample_lib.Sample] = ()) -> Samples:
  """Samples in order until the quota is kept, the rejected ones among them;
  the last is of the worker `Budget` if that was used up before.

  Args:
    m: what all samples share.
    stream: of the shard.
    shard: with its quota.
    max_tries: samples for each one that is wanted, at most.
    window: samples that a look at the acceptance takes.
    floor: of the first window's acceptance, below which it ends.
    validate: see `sample.make`.
    begun: the first of them, made before.
  """
  found = list(begun)
  seen = {s.task.scenario for s in found if s.task}
  kept = len(seen)
  for i in range(len(found), math.ceil(max_tries * shard.quota)):
    sample = unless_seen(sample_lib.make(
        m, stream, shard.name, i, validate=validate), seen)
    found.append(sample)
    kept += sample.task is not None
    if sample.over_budget or kept == shard.quota or fell(
        found, window, floor):
      break
  return found


def fell(samples: Sequence[sample_lib.Sample], window: int,
         floor: float) -> bool:
  """Whether of the first `window` samples, callers that were not found aside,
  none was kept, or of some later ones less than `floor` of that."""
  kept = [s.task is not None for s in samples if s.had_caller]
  first = sum(kept[:window])
  if not first:
    return len(kept) >= window
  return any(sum(kept[i:i + window]) < floor * first
             for i in range(window, len(kept) - window + 1, window))


def unless_seen(sample: sample_lib.Sample,
                seen: set[str]) -> sample_lib.Sample:
  """The sample, or a rejection if its scenario was there before."""
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
  """The samples of each shard, or of the part that the budget was enough
  for."""
  paths = [_path(folder, shard) for shard in shards]
  return [_read(path if path.exists() else path.with_suffix('.cut'))
          for path in paths]


def _read(path: pathlib.Path) -> Samples:
  return [jsons.from_json(sample_lib.Sample, json.loads(line))
          for line in path.read_text().splitlines()]


def interleave(found: Sequence[Samples]) -> Iterator[sample_lib.Sample]:
  """First samples first, so that a prefix holds something of every shard."""
  for row in itertools.zip_longest(*found):
    yield from (sample for sample in row if sample)


def _path(folder: str, shard: Shard) -> pathlib.Path:
  return pathlib.Path(folder, 'shards', f'{shard.name}.jsonl')


def _config(folder: str) -> dict[str, Any]:
  return files.read_json(pathlib.Path(folder, 'config.json'))['config']


def maker(folder: str) -> sample_lib.Maker:
  """What all samples of a stage share; the same in each process."""
  return sample_lib.maker(json.dumps(_config(folder), sort_keys=True))
