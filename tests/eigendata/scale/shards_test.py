"""Shards share the work out, and are made by anyone, once."""

import dataclasses
import json
import os
import pathlib
import pickle

import ml_collections
import pytest

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import run
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.eigendata.scale import runners
from agentrl.eigendata.scale import shards

MONITOR = config_lib.Monitor(window=4, floor=0.5)


def quotas(weights, wanted, size):
  found = shards.allot(dict(enumerate(weights)), wanted, 'train', wave=0,
                       size=size)
  return [(s.stream, s.part, s.quota) for s in found]


def test_worked_example():
  # 2.5, 5 and 2.5 tasks: the fraction that comes first gets the last one.
  assert quotas([1, 2, 1], 10, 4) == [
      (0, 0, 3), (1, 0, 4), (1, 1, 1), (2, 0, 2)]


@pytest.mark.parametrize('wanted', [1, 7, 100, 333])
def test_all_that_is_wanted_is_shared_out(wanted):
  found = quotas([0.3, 0.1, 0.25, 0.35], wanted, 20)
  assert sum(quota for _, _, quota in found) == wanted
  assert all(1 <= quota <= 20 for _, _, quota in found)
  assert len({(stream, part) for stream, part, _ in found}) == len(found)


def samples(flags, worker=types.Worker.TRAJECTORY_VALIDATION):
  why = types.Rejection(worker, 'no')
  return [sample_lib.Sample(task=object() if f == '1' else None,
                            rejection=None if f == '1' else why)
          for f in flags]


@pytest.mark.parametrize('flags, gone', [
    ('1101' * 4, False), ('1101' '0010', True), ('0100' * 4, False),
    ('1101' '000', False), ('1101' '1010' '0001', True), ('0000', True),
    ('000', False)])
def test_a_stream_whose_acceptance_falls_is_stopped(flags, gone):
  assert shards.acceptance_dropped(samples(flags), MONITOR) == gone


def test_callers_that_were_not_found_do_not_count():
  found = samples('1101') + samples('0' * 9, types.Worker.RANDOM_POOL)
  assert not shards.acceptance_dropped(found, MONITOR)


def test_a_shard_ends_when_its_stream_falls(config, monkeypatch):
  flags = iter('1111' '0000' '1111')
  def make(context, stream, purpose, i, *, validate):
    return dataclasses.replace(samples(next(flags))[0], stream=str(i),
                               task=None)
  monkeypatch.setattr(sample_lib, 'draw', make)
  monkeypatch.setattr(shards, 'reject_repeated', lambda s, seen: s
                      if s.rejection else dataclasses.replace(s, task=object()))
  shard = shards.Shard('train', 0, 0, 0, quota=100)
  fields = config_lib.read(config(
      max_tries=4, monitor=dataclasses.asdict(MONITOR)))
  found = shards.draw_samples(None, None, shard, fields)
  assert len(found) == 8


def test_a_stream_is_judged_by_all_its_shards(config, tmp_path, monkeypatch):
  """Each has four samples, of which nothing can be told."""
  plain, made = sample_lib.draw, []
  def make(context, stream, purpose, i, **kw):
    _, wave, number, _ = purpose.split('-')
    made.append((int(wave), int(number)))
    return samples('0')[0] if number == '000' else plain(
        context, stream, purpose, i, **kw)
  monkeypatch.setattr(sample_lib, 'draw', make)
  run.synthesize(ml_collections.ConfigDict(config(
      num_train=8, num_test=0, plan_pairs=2, shard_size=1, max_tries=4,
      demands_train=[1.0], monitor=dict(window=8, floor=0.5))), tmp_path)
  assert made.count((0, 0)) == 16
  assert {number for wave, number in made if wave} == {1}


def test_samples_survive_their_file(make_context, streams, tmp_path):
  context = make_context(mistakes={'intent': 0.5})
  stream = streams(context)[0]
  made = [sample_lib.draw(context, stream, 'x', i) for i in range(9)]
  shard = shards.Shard('train', 0, 0, 0, 9)
  files.write_lines(tmp_path / 'shards' / f'{shard.name}.jsonl',
                      map(jsons.dumps, made))
  found = shards.read(str(tmp_path), [shard])[0]
  assert list(map(jsons.dumps, found)) == list(map(jsons.dumps, made))
  assert found[0].messages == made[0].messages
  assert any(s.task for s in made) and any(s.rejection for s in made)


class Interrupted(Exception):
  pass


def test_what_the_budget_cut_off_is_gone_on_with(
    config, streams, tmp_path, monkeypatch):
  (tmp_path / 'config.json').write_text(json.dumps({
      'config': config()}))
  context = context_lib.of_folder(str(tmp_path))
  files.write_json(tmp_path / 'streams.json', streams_lib.to_json(
      {'train': streams(context)[:1]}))
  plain, left, made = sample_lib.draw, [2], []
  def make(context, stream, purpose, i, **kw):
    made.append(i)
    left[0] -= 1
    if left[0] < 0:
      return sample_lib.Sample(rejection=types.Rejection(
          types.Worker.BUDGET, 'used up'))
    return plain(context, stream, purpose, i, **kw)
  monkeypatch.setattr(sample_lib, 'draw', make)
  shard, found = shards.Shard('train', 0, 0, 0, quota=5), []
  for left[0] in (2, 1, 99):
    shards.fill(str(tmp_path), context, shard)
    found += shards.read(str(tmp_path), [shard])
  assert [len(samples) for samples in found] == [2, 3, 5]
  assert made == [0, 1, 2, 2, 3, 3, 4]
  assert found[2][:3] == found[1] and all(s.task for s in found[2])


def test_a_stage_that_was_stopped_makes_only_what_is_missing(
    config, tmp_path, monkeypatch):
  settings = ml_collections.ConfigDict(config(num_test=0))
  run.synthesize(settings, tmp_path / 'whole')
  made, allowed = [], 3
  plain = shards.draw_samples
  def produce(context, stream, shard, *args, **kw):
    if len(made) == allowed:
      raise Interrupted
    made.append(shard.name)
    return plain(context, stream, shard, *args, **kw)
  monkeypatch.setattr(shards, 'draw_samples', produce)
  with pytest.raises(Interrupted):
    run.synthesize(settings, tmp_path / 'parts')
  kept = sorted(p.stem for p in (tmp_path / 'parts/shards').iterdir())
  assert kept == sorted(made) and len(kept) == 3
  allowed = 10**6
  run.synthesize(settings, tmp_path / 'parts')
  assert len(set(made)) == len(made) > 3
  found = [files.read_json(tmp_path / n / 'manifest.json')['made']
           for n in ('whole', 'parts')]
  assert found[0] == found[1]
  assert not (tmp_path / 'parts/shards').exists()


@pytest.mark.parametrize('runner, workers', [
    ('threads', 3), ('processes', 2), ('beam', 1),
    pytest.param('beam', 8, marks=pytest.mark.slow)])
def test_whoever_makes_the_shards_the_corpus_is_the_same(
    config, tmp_path, monkeypatch, runner, workers):
  if runner == 'beam':
    pytest.importorskip('apache_beam')
    paths = [str(pathlib.Path(__file__).parents[1]),
             os.environ.get('PYTHONPATH')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, paths)))
  made = []
  for name, fields in (('alone', {}), ('many', {
      'runner': f'agentrl.eigendata.scale.runners:{runner}',
      'workers': workers})):
    run.synthesize(ml_collections.ConfigDict(config(**fields)),
                   tmp_path / name)
    made.append(files.read_json(tmp_path / name / 'manifest.json')['made'])
  assert made[0] == made[1]


def test_an_error_in_a_thread_is_raised_and_ends_the_rest():
  seen = []
  def job(context, i):
    assert context == 'shared'
    seen.append(i)
    raise Interrupted
  with pytest.raises(Interrupted), runners.threads('shared', '', 1) as run_all:
    run_all(job, range(100), lambda: None)
  assert len(seen) < 100


def count_databases(context, target):
  """A job: writes a number of its context into a file."""
  pathlib.Path(target).write_text(str(context.databases))


def test_a_worker_elsewhere_makes_its_own_context(config, tmp_path):
  """As for Beam: the job is sent to it before there is a context."""
  files.write_json(tmp_path / 'config.json', {'config': config(databases=7)})
  sent = pickle.dumps(runners._InWorker(count_databases, str(tmp_path)))
  call = pickle.loads(sent)
  for name in 'ab':
    call(str(tmp_path / name))
    assert (tmp_path / name).read_text() == '7'
  assert call._context is not None
