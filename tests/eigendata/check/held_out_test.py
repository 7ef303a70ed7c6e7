"""Nothing that models are judged on gets into training data."""

import collections
import dataclasses

import ml_collections
import pytest

from agentrl import files
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import run
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.check import held_out
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.tau2 import held_out as tau2_held
from agentrl.eigendata.tau2 import stage as tau2_stage
from agentrl.envs import load as env_load

WORDS = 'a b c d e f g h i j k l m n o p q r s t u v w x y z'.split()


def task(name, scenario):
  return types.Task(name, 'letters', scenario)


def letters(item, messages):
  """Finds the words in capitals."""
  text = ' '.join([item.scenario, *(m.content for m in messages)])
  return frozenset(w for w in text.split() if w.isupper())


def test_thirteen_words_in_a_row_are_the_same_text():
  long = ' '.join(WORDS[:15])
  held = held_out.of_tasks([task('1', f'Here: {long}!')], letters)
  assert len(held.grams) == 4  # 'here' and 15 letters: 16 words
  def why(text):
    return held_out.overlap(held, task('2', text))[0]
  assert why(' '.join(WORDS[2:15])) == 'the text of a task that is judged on'
  assert why(' '.join(WORDS[:13]).upper().title()) == why(long) != ''
  assert why(' '.join(WORDS[:12])) == ''
  assert why(' '.join(WORDS[:7]) + '\n' + ' '.join(WORDS[7:15])) == ''
  talk = [types.Message('user', f'Well. {long}', requestor='user')]
  assert held_out.overlap(held, task('2', ''), talk)[0] == why(long)
  shown = [types.Message('tool', long, id='0')]  # the database's words
  assert held_out.overlap(held, task('2', ''), shown) == ('', '')


def test_what_several_tasks_say_or_train_tasks_too_is_no_leak():
  common, own = ' '.join(WORDS[:13]), ' '.join(WORDS[13:])
  tasks = [task('1', f'{common}\n{own}'), task('2', common)]
  assert set(held_out.of_tasks(tasks, letters).grams) == {own}
  given = [task('3', own)]
  held = held_out.of_tasks(tasks, letters, given)
  assert not held.grams
  assert held_out.overlap(held, given[0]) == ('', '')


def test_entities_clash_if_all_of_a_task_are_there():
  held = held_out.of_tasks([task('1', 'ANN has LAMP'), task('2', 'nobody')],
                           letters)
  def why(item, *talk):
    return held_out.overlap(held, item,
                            [types.Message('user', t) for t in talk])
  found = ('the entities of a task that is judged on', 'ANN, LAMP: 1')
  assert why(task('3', 'LAMP of ANN and BOB')) == found
  assert why(task('3', 'ANN'), 'my LAMP') == found
  assert why(task('3', 'ANN has TORCH')) == ('', '')
  assert why(task('1', '')) == ('a task that is judged on', '1')
  given = task('3', 'ANN sold LAMP')
  held = held_out.of_tasks([task('1', 'ANN has LAMP')], letters, [given])
  assert held_out.overlap(held, given) == ('', '')
  other = dataclasses.replace(given, scenario='ANN bought LAMP')
  assert held_out.overlap(held, other) == found  # it only has the name


def test_the_gate_rejects_with_a_reason_and_lets_the_rest_pass():
  held = {'letters': held_out.of_tasks([task('1', 'ANN')], letters)}
  samples = [sample_lib.Sample(task('2', 'BOB')),
             sample_lib.Sample(task('3', 'ANN')),
             sample_lib.Sample(rejection=types.Rejection(
                 types.Worker.DUPLICATES, 'no')),
             sample_lib.Sample(dataclasses.replace(
                 task('4', 'ANN'), domain='others'))]
  found = list(held_out.drop_overlaps(samples, held))
  assert found[::2] == samples[::2] and found[3] == samples[3]
  assert found[1] == sample_lib.Sample(rejection=types.Rejection(
      types.Worker.CONTAMINATION, 'the entities of a task that is judged on',
      '3: ANN: 1'))


@pytest.mark.parametrize('entity', [True, False])
def test_long_texts_count_where_they_name_what_is_held(
    config, monkeypatch, entity):
  """With a pattern of entities, and by the databases if there is none."""
  config()
  env = env_load.load('lamp_shop', {})
  if not entity:
    monkeypatch.delattr(env.drafts, 'ENTITY')
  lamps = {split: next(iter(env.tables(0, split)['lamps']))
           for split in ('train', 'test')}
  def named(name, split, lamp):
    return types.Task(name, 'lamp_shop', f'{" ".join(WORDS)} {lamp} here',
                      initial_state=env.initial_state(0, split))
  held = held_out.of_split(env, [named('1', 'test', lamps['test'])])
  assert held_out.overlap(held, named('2', 'train', lamps['train'])) == ('', '')
  leak = named('3', 'train', lamps['test'])
  assert held_out.overlap(held, leak)[0] == (
      'the entities of a task that is judged on')
  assert held_out.overlap(dataclasses.replace(held, entities={}), leak)[0] == (
      'the text of a task that is judged on')


def test_the_stage_of_built_in_domains_has_the_gate(
    config, tmp_path, monkeypatch):
  make = sample_lib.draw
  def leaky(context, stream, purpose, number, *, validate):
    """Every third sample to train on is one of the test split."""
    if purpose.startswith('test') or number % 3 != 1:
      return make(context, stream, purpose, number)
    leak = run.plan(context, [0, 1], 64, 'test', {})[0]
    sample = make(context, leak, 'test-0-000-000', number // 3)
    if sample.task:
      sample.task.meta['leak'] = True
    return sample
  monkeypatch.setattr(sample_lib, 'draw', leaky)
  settings = ml_collections.ConfigDict(config(
      num_train=18, num_test=12, databases=8, max_tries=10))
  run.synthesize(settings, tmp_path)
  manifest = files.read_json(tmp_path / 'manifest.json')
  reasons = manifest['train']['rejected']
  dropped = reasons[
      'Contamination: the entities of a task that is judged on']
  tasks = episodes.tasks(tmp_path, 'train')
  assert len(tasks) == 18 - dropped and dropped > 0
  assert not [t.id for t in tasks if t.meta.get('leak')]
  assert manifest['flagged'] == {'counts': {}, 'examples': {}}


# --- The benchmark ---


@pytest.fixture(scope='module')
def bench():
  pytest.importorskip('tau2.domains.telecom', reason='needs the benchmark')
  return {name: tau2_domain.load(f'tau2:{name}', {'prompt': 'brief'})
          for name in ('airline', 'retail', 'telecom')}


@pytest.mark.parametrize('name', ['airline', 'retail', 'telecom'])
def test_train_passes_and_test_does_not(bench, name):
  env = bench[name]
  def reasons(judged_on, split):
    held = held_out.of_benchmark(env, judged_on)
    renamed = (dataclasses.replace(t, id=f'new {t.id}')
               for t in env.tasks(split))
    return ({held_out.overlap(held, t)[0] for t in env.tasks(split)},
            collections.Counter(held_out.overlap(held, t)[0] for t in renamed))
  same, _ = reasons('test', 'train')
  assert same == {''}
  for judged_on, split in (('test', 'test'), ('base', 'train')):
    same, renamed = reasons(judged_on, split)
    assert same == {'a task that is judged on'}
    # By their entities or their text, but for two of airline, which name
    # nobody and are short.
    assert renamed[''] <= (2 if name == 'airline' else 0)
  # Half of retail's train tasks are about customers of test tasks: these pass
  # as the benchmark's own, and under no other name.
  _, renamed = reasons('test', 'train')
  assert bool(renamed['the entities of a task that is judged on']) == (
      name != 'telecom')


def test_new_tasks_are_not_about_customers_of_the_split_that_judges(bench):
  env = bench['airline']
  held = held_out.of_benchmark(env, 'base')
  found = [s.task for s in tau2_stage.new_tasks(env, 0, 12, 'base') if s.task]
  assert len(found) == 12
  assert {held_out.overlap(held, t)[0] for t in found} == {''}
  free = [s.task for s in tau2_stage.new_tasks(env, 0, 12, 'test') if s.task]
  assert {held_out.overlap(held, t)[0] for t in free} > {''}


def test_records_that_a_task_begins_with_are_looked_at_too(bench):
  env = bench['retail']
  held = held_out.of_benchmark(env, 'test')
  def why(user):
    start = {'initialization_data': {
        'agent_data': {'users': {user: {'address': {'city': 'Oslo'}}}},
        'user_data': None}}
    return held_out.overlap(held, types.Task(
        'new', env.name, 'Call.', initial_state=start))[0]
  customer, = next(names for names in held.entities)
  assert why(customer) == 'the entities of a task that is judged on'
  assert why(tau2_held.customers(env)[0]) == ''


def test_the_same_faults_are_the_same_task_of_telecom(bench):
  env = bench['telecom']
  first = env.tasks('test')[0]
  held = held_out.of_benchmark(env, 'test')
  actions = list(first.initial_state['initialization_actions'])
  turned = {**first.initial_state, 'initialization_actions': actions[::-1]}
  fewer = {**first.initial_state, 'initialization_actions': actions[1:]}
  why = [held_out.overlap(held, dataclasses.replace(
      first, id='new', scenario='', initial_state=state))[0]
         for state in (turned, fewer)]
  assert why == ['the entities of a task that is judged on', '']
