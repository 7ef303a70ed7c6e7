"""The data stage: its folder, its figures, and what it refuses."""

import importlib
import pathlib
import shutil

import ml_collections
import pytest

from agentrl import files
from agentrl.data import episodes
from agentrl.eigendata import run
from agentrl.envs import domain
from agentrl.envs import load as env_load

ROOT = pathlib.Path(__file__).parents[2]
MISTAKES = dict.fromkeys(('intent', 'user', 'agent', 'checker'), 0.2)


@pytest.fixture
def settings(config):
  return lambda **kw: ml_collections.ConfigDict(
      config(mistakes=MISTAKES, **kw))


def test_the_folder_can_be_read_and_its_figures_add_up(settings, tmp_path):
  run.synthesize(settings(), tmp_path)
  found = files.read_json(tmp_path / 'stats.json')
  for split, wanted in (('train', 12), ('test', 4)):
    figures = found[split]
    assert figures['kept'] == wanted == len(episodes.tasks(tmp_path, split))
    assert figures['tried'] == wanted + sum(figures['rejected'].values())
    assert sum(figures['kinds'].values()) == wanted
    assert figures['mutants']['score'] == 1
  read = list(episodes.read(tmp_path))
  assert [t.id for t, _ in read] == [
      t.id for t in episodes.tasks(tmp_path, 'train')]
  manifest = files.read_json(tmp_path / 'manifest.json')
  assert manifest['train']['rejected'] == found['train']['rejected']
  assert manifest['plans']['train']['pairs'] > 1
  assert set(manifest['made']) == {
      'episodes', 'stats.json', 'planned.json', 'streams.json', 'rounds.jsonl',
      'tasks_test.jsonl', 'tasks_train.jsonl', 'tau2_tasks_test.json',
      'tau2_tasks_train.json'}


def test_splits_share_no_entity_and_no_combination(settings, tmp_path):
  run.synthesize(settings(demands_train=[1, 1, 1]), tmp_path)
  train, test = (episodes.tasks(tmp_path, s) for s in ('train', 'test'))
  sets = lambda tasks: {tuple(sorted(t.families)) for t in tasks}
  assert not sets(train) & sets(test)
  words = lambda tasks: {w for t in tasks for d in t.demands
                         for w in d.about if '-' in w}
  assert not words(train) & words(test)


def test_databases_of_kept_tasks_and_no_others_are_kept(settings, tmp_path):
  left = tmp_path / 'databases' / 'of-a-dropped-task.json'
  left.parent.mkdir()
  left.write_text('{}')
  run.synthesize(settings(databases=9), tmp_path)
  tasks = [t for s in ('train', 'test') for t in episodes.tasks(tmp_path, s)]
  found = {t.database for t in tasks}
  snapshots = {p.name for p in (tmp_path / 'databases').iterdir()}
  assert snapshots == {f'{name}.json' for name in found}
  env = env_load.load('lamp_shop', {
      'prompt': 'brief', 'databases': str(tmp_path / 'databases')})
  entries = {e['id']: e for s in ('train', 'test')
             for e in files.read_json(tmp_path / f'tau2_tasks_{s}.json')}
  for task in tasks:
    path = tmp_path / entries[task.id]['db_path']
    assert path.stem == task.database == files.file_digest(path)
    assert env.start(task).state._base == env.tables(**task.initial_state)
    assert entries[task.id]['agentrl']['checker'] == task.checker


def test_a_database_that_is_built_otherwise_is_an_error_or_read(
    settings, tmp_path, monkeypatch):
  run.synthesize(settings(num_test=0), tmp_path)
  tasks = episodes.tasks(tmp_path, 'train')
  build = lambda seed, split: {'lamps': {}, 'people': {}}
  monkeypatch.setattr(importlib.import_module('lamp_shop.state'), 'build',
                      build)
  for cached in (domain._tables, domain._digest):
    cached.cache_clear()
  with pytest.raises(ValueError, match='was made with.*config.env.databases'):
    env_load.load('lamp_shop').start(tasks[0])
  episodes.verify(env_load.load('lamp_shop', {
      'databases': str(tmp_path / 'databases')}), tasks)
  for cached in (domain._tables, domain._digest):
    cached.cache_clear()


def test_a_finished_stage_is_not_repeated_and_not_overwritten(
    settings, tmp_path):
  run.synthesize(settings(), tmp_path)
  before = (tmp_path / 'manifest.json').stat().st_mtime_ns
  run.synthesize(settings(), tmp_path)
  assert (tmp_path / 'manifest.json').stat().st_mtime_ns == before
  with pytest.raises(ValueError, match='config.seed was 0, is 1'):
    run.synthesize(settings(seed=1), tmp_path)


def test_too_few_good_samples_say_why_and_leave_no_manifest(
    settings, tmp_path):
  config = settings()
  config.llm_kw.mistakes.intent = 1.0
  with pytest.raises(ValueError, match='raise config.max_tries.*TaskValid'):
    run.synthesize(config, tmp_path)
  assert not (tmp_path / 'manifest.json').exists()


def test_with_test_tasks_alone_nothing_evolves(settings, tmp_path):
  config = settings(num_train=0)
  config.evolve.rounds = 2
  run.synthesize(config, tmp_path)
  assert len(episodes.tasks(tmp_path, 'test')) == 4


def test_a_key_is_not_written_down(settings, tmp_path):
  secret = 'gsk_0Secret'
  for fields in (dict(llm_kw=dict(key=secret)),
                 dict(llm_roles=dict(UserIntent=dict(url=secret)))):
    with pytest.raises(ValueError, match='not shown here') as e:
      run.synthesize(settings(**fields), tmp_path / 'run')
    assert secret not in str(e.value) and not (tmp_path / 'run').exists()


def test_the_script_takes_the_configs(monkeypatch):
  """It refuses fields that are not declared."""
  monkeypatch.syspath_prepend(ROOT / 'scripts')
  common = importlib.import_module('common')
  for name in ('builtin', 'evolving', 'openai', 'smollm2'):
    config = importlib.import_module(f'configs.eigendata.{name}').get_config()
    common.check_fields(run.synthesize, config, 'config')


def test_no_test_tasks_may_be_asked_for(settings, tmp_path):
  run.synthesize(settings(num_test=0), tmp_path)
  assert episodes.tasks(tmp_path, 'test') == []


def test_a_run_that_may_be_short_says_so(settings, tmp_path):
  config = settings(if_short='keep', num_test=0)
  config.llm_kw.mistakes.update(intent=1.0, checker=1.0, agent=1.0)
  run.synthesize(config, tmp_path)
  said = files.read_json(tmp_path / 'manifest.json')
  assert said['stopped'] == 'fewer than wanted (train: 0 of 12)'
  assert sum(said['train']['rejected'].values()) == said['train']['tried'] > 0
  assert episodes.tasks(tmp_path, 'train') == []
  with pytest.raises(ValueError, match='holds no dialogues'):
    list(episodes.read(tmp_path))


def test_a_folder_made_anew_in_one_process_has_the_new_config(
    settings, tmp_path):
  run.synthesize(settings(), tmp_path)
  shutil.rmtree(tmp_path)
  run.synthesize(settings(seed=1, num_train=5), tmp_path)
  tasks = episodes.tasks(tmp_path, 'train')
  assert len(tasks) == 5
  assert all(t.initial_state['seed'] >= 2 for t in tasks)  # two databases each
