"""The end of a data stage: which tasks, dialogues and databases are written."""

import dataclasses

import ml_collections

from agentrl import files
from agentrl import testing
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import output
from agentrl.eigendata import sample as sample_lib
from agentrl.envs import databases
from agentrl.stage import runs

CERTIFICATE = types.Certificate(
    gold=(True,), orders=(), floors={'noop': False}, mutants=2, killed=1,
    equivalent=1, survivors=(), score=1.0, fingerprint='echo')


def task(word, **fields):
  return dataclasses.replace(testing.echo_task(word), id=word, **fields)


def talk(text):
  return (types.Message('user', text, requestor='user'),
          types.Message('assistant', text))


def ended(folder, train, test=()):
  stage = runs.start(folder, 'data', ml_collections.ConfigDict({'seed': 0}))
  env = testing.EchoEnv()
  output.write(stage, {'train': train, 'test': list(test)}, {env.name: env},
               flagged={}, seed=0)
  return files.read_json(folder / 'manifest.json')


def test_a_task_is_written_once_and_each_of_its_dialogues(tmp_path):
  sound = task('otter', certificate=CERTIFICATE)
  manifest = ended(tmp_path, [
      sample_lib.Sample(sound, talk('one')),
      sample_lib.Sample(sound, talk('two')),
      sample_lib.Sample(task('heron'), talk('three')),  # names its dialogue
      sample_lib.Sample(rejection=types.Rejection(
          types.Worker.CRITIC, 'dull'))], [sample_lib.Sample(sound)])
  assert episodes.tasks(tmp_path, 'train') == [sound]
  assert episodes.tasks(tmp_path, 'test') == [sound]
  assert [(t.id, m[1].content) for t, m in episodes.read(tmp_path)] == [
      ('otter', 'one'), ('otter', 'two'), ('heron', 'three')]
  assert [t['id'] for t in files.read_json(
      tmp_path / 'tau2_tasks_train.json')] == ['otter']
  assert (manifest['train']['kept'], manifest['train']['tried']) == (3, 4)
  assert manifest['train']['rejected'] == {'Critic: dull': 1}
  assert manifest['seed'] == 0 and 'episodes' in manifest['made']


def test_an_unvalidated_task_is_written_if_a_checker_can_judge_it(tmp_path):
  unproven = task('otter', checker='def check(changes, events): ...')
  ended(tmp_path, [sample_lib.Sample(unproven, talk('one'))])
  assert episodes.tasks(tmp_path, 'train') == [unproven]


def test_only_databases_that_tasks_start_from_are_left(tmp_path):
  folder = tmp_path / databases.FOLDER
  folder.mkdir()
  for name in ('used', 'unused'):
    (folder / f'{name}.json').write_text('{}')
  manifest = ended(tmp_path, [sample_lib.Sample(task(
      'otter', certificate=CERTIFICATE, database='used'))])
  assert [p.name for p in folder.iterdir()] == ['used.json']
  assert manifest['databases'] == ['used']
  assert 'episodes' not in manifest['made']  # there are no dialogues
