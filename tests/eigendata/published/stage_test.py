"""A published corpus comes in whole, or is said to be dropped, and why."""

import dataclasses
import json
import random

import pytest

from agentrl import files
from agentrl import types
from agentrl.data import episodes
from agentrl.data import vocabulary
from agentrl.eigendata.published import stage as published
from agentrl.eigendata.tau2 import certify
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.tau2 import stage as tau2_stage
from agentrl.envs import databases
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from configs.eigendata import published as config_lib

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')


@pytest.fixture(scope='module')
def envs():
  return {name: tau2_domain.load(f'tau2:{name}')
          for name in ('retail', 'telecom')}


@pytest.fixture(scope='module')
def talks(envs):
  """Three dialogues of each domain."""
  return {name: [s for s in tau2_stage.write(
      env, env.tasks('train')[:3], seed=0, per_task=1) if s.task]
          for name, env in envs.items()}


def openai(message):
  calls = [{'id': f'theirs_{c.id}', 'type': 'function', 'function': {
      'name': c.name, 'arguments': json.dumps({**c.arguments, 'x': None})}}
           for c in message.tool_calls]
  return {'role': message.role, 'content': message.content, 'tool_calls': calls,
          'tool_call_id': message.id and f'theirs_{message.id}', 'name': None}


def rows_of(name, messages, **about):
  """One-turn rows of a dialogue; what comes after its last turn is lost."""
  system = {'role': 'system', 'content': 'policy'}
  for i, m in enumerate(messages):
    if m.role == 'assistant' and i:
      yield {'messages': [system, *map(openai, messages[:i])],
             'answer': {**openai(m), 'thinking': f'Hm, {i}.'},
             'metadata': {'source_dialog_id': name, 'turn_index': i,
                          'reason_for_call': 'Something is wrong.',
                          'correct': 1, 'reward': 1.0, **about}}


def to_last_turn(messages):
  last = max(i for i, m in enumerate(messages) if m.role == 'assistant')
  return messages[:last + 1]


def task_row(env, task_id, **fields):
  """A task as the corpus has it: criteria as text, and fields of None."""
  raw = env._bench.task(task_id).model_dump(mode='json')
  for action in raw['evaluation_criteria']['actions'] or ():
    action['arguments']['unused'] = None
  criteria = json.dumps(raw.pop('evaluation_criteria'))
  return {**raw, 'id': f'new_{task_id}', 'evaluation_criteria': criteria,
          'correct': 1, 'op': None, **fields}


def write(path, rows):
  files.write_lines(path, (r if isinstance(r, str) else json.dumps(r)
                             for r in rows))
  return path


def read(path, rows, envs, drop_failures=True, thinking=False):
  samples = published.without_repeats(published.dialogues(
      write(path, rows), envs, drop_failures=drop_failures, thinking=thinking))
  return [s for s in samples if s.task], [
      (s.rejection.worker, s.rejection.kind) for s in samples if not s.task]


def test_rows_become_the_dialogues_that_they_were_cut_from(
    envs, talks, tmp_path):
  rows, expected = [], []
  for domain, samples in talks.items():
    for i, s in enumerate(samples):
      rows += rows_of(f'{domain}_dialog_{i}', s.messages)
      expected.append(to_last_turn(s.messages))
  mixed = rows[::2] + rows[1::2][::-1]  # of a dialogue, far from each other
  kept, dropped = read(tmp_path / 'sft.jsonl', mixed, envs)
  assert not dropped and len(kept) == len(expected) == 6
  for sample in kept:
    assert sample.messages in expected
    assert sample.task.scenario == 'Something is wrong.'
  assert [s.task.domain for s in kept] == ['tau2:retail'] * 3 + [
      'tau2:telecom'] * 3


def test_each_turn_keeps_the_thinking_of_its_row(envs, talks, tmp_path):
  messages = talks['telecom'][0].messages
  rows = list(rows_of('telecom_dialog_0', messages))[::-1]
  kept, _ = read(tmp_path / 'sft.jsonl', rows, envs, thinking=True)
  found = kept[0].messages
  assert [m.thinking for m in found[1:] if m.role == 'assistant'] == [
      f'Hm, {i}.' for i, m in enumerate(messages)
      if m.role == 'assistant' and i]
  assert all(m.thinking is None for m in found
             if m.role != 'assistant' or m == found[0])
  assert [dataclasses.replace(m, thinking=None) for m in found] == list(
      to_last_turn(messages))


def test_a_row_that_fits_no_other_is_a_dialogue_of_its_own(
    envs, talks, tmp_path):
  *_, last = rows_of('retail_dialog_0', talks['retail'][0].messages)
  other = json.loads(json.dumps(last))
  other['messages'][2]['content'] = 'Good day.'
  kept, _ = read(tmp_path / 'sft.jsonl', [last, other, last], envs)
  assert [s.task.id for s in kept] == ['retail_dialog_0', 'retail_dialog_0-2']
  assert kept[0].messages[2:] == kept[1].messages[2:]


def test_failures_are_dropped_on_request(envs, talks, tmp_path):
  messages = talks['retail'][0].messages
  rows = [*rows_of('retail_a', messages, correct=0),
          *rows_of('retail_b', messages, reward=0.0),
          *rows_of('retail_c', messages[:-2])]
  kept, dropped = read(tmp_path / 'sft.jsonl', rows, envs)
  assert [s.task.id for s in kept] == ['retail_c']
  assert dropped == [('Failures', 'correct is 0'),
                     ('Failures', 'reward is 0.0')]
  kept, dropped = read(tmp_path / 'sft.jsonl', rows, envs, drop_failures=False)
  assert len(kept) == 2 and dropped == [('Duplicates', 'seen before')]


def test_what_cannot_be_read_is_a_typed_rejection(envs, talks, tmp_path):
  row = next(rows_of('retail_dialog_0', talks['retail'][0].messages))
  def broken(**fields):
    return {**row, 'metadata': {}, **fields}
  def answer(**function):
    return broken(answer={'tool_calls': [{'function': function}]})
  user = {'role': 'user', 'content': 'Hi.'}
  cases = {
      '{"messages": [': 'not JSON', '[' * 10**5: 'not JSON',
      '["\\ud800"]': 'not JSON', '[1]': 'not a JSON object',
      '{}': 'no messages or no answer'}
  records = [
      (broken(messages=None), 'no messages or no answer'),
      (broken(answer='Hi.'), 'no messages or no answer'),
      (broken(messages=[{**user, 'role': 'narrator'}]), 'a message of no role'),
      (broken(messages=['Hi.']), 'a message of no role'),
      (broken(answer={'content': ' '}), 'an empty message'),
      (broken(messages=[{**user, 'role': 'tool'}]),
       'calls and results do not match'),
      (broken(messages=[{**user, 'tool_calls': [{'name': 'a'}]}]),
       'calls and results do not match'),
      (answer(name='a', arguments='{'), 'arguments are not JSON'),
      (answer(name='a', arguments='[1]'), 'a call without name or arguments'),
      (answer(arguments={}), 'a call without name or arguments'),
      (answer(name='launch', arguments={}), 'of no domain in config.domains')]
  kept, dropped = read(tmp_path / 'sft.jsonl',
                       [*cases, *(r for r, _ in records)], envs)
  assert not kept
  assert sorted(dropped) == sorted(('Read', reason) for reason in [
      *cases.values(), *(reason for _, reason in records)])


JUNK = (None, 0, -1.5, True, ' ', 'x', '{', [], [None], {}, {'a': [{}]},
        {'role': 'tool'}, '[' * 2000)


def spoilt(value, rng):
  """A copy of JSON with something else somewhere within."""
  if rng.random() < 0.15 or not isinstance(value, (dict, list)) or not value:
    return rng.choice(JUNK)
  places = list(value) if isinstance(value, dict) else range(len(value))
  place = rng.choice(places)
  value = value.copy()
  if rng.random() < 0.1:
    del value[place]
  else:
    value[place] = spoilt(value[place], rng)
  return value


def test_no_row_of_any_kind_is_a_crash(envs, talks, tmp_path):
  rng = random.Random(0)
  rows = [*rows_of('retail_a', talks['retail'][0].messages)][:4]
  tasks = [task_row(envs['retail'], t.id) for t in
           envs['retail'].tasks('train')[:2]]
  kept, dropped = read(tmp_path / 'sft.jsonl', [
      spoilt(rng.choice(rows), rng) for _ in range(400)], envs)
  assert kept and len({reason for _, reason in dropped}) >= 5
  path = write(tmp_path / 'rl.jsonl', [
      json.dumps(spoilt(rng.choice(tasks), rng)) for _ in range(60)])
  found = list(published.tasks(path, envs, tmp_path / 'dbs',
                               drop_failures=True))
  assert len(found) == 60 and {bool(s.task) for s in found} == {True, False}
  json.dumps([s.rejection.detail for s in found if s.rejection],
             ensure_ascii=False).encode()


def test_a_domain_is_known_by_its_tools_where_the_name_does_not_tell(
    envs, talks, tmp_path):
  rows = [*rows_of('a', talks['telecom'][0].messages),
          *rows_of('b', talks['retail'][0].messages)]
  kept, _ = read(tmp_path / 'sft.jsonl', rows, envs)
  assert [s.task.domain for s in kept] == ['tau2:telecom', 'tau2:retail']


@pytest.fixture
def config(tmp_path):
  c = config_lib.get_config()
  c.domains = ('tau2:retail', 'tau2:telecom')
  c.env.prompt = 'brief'
  c.dialogues, c.tasks = str(tmp_path / 'sft.jsonl'), str(tmp_path / 'rl.jsonl')
  return c


def test_the_stage_gates_certifies_and_says_what_it_dropped(
    envs, talks, config, tmp_path):
  env = envs['retail']
  held = env.tasks('test')[0]
  greeting, first, *rest = talks['telecom'][1].messages
  leaked = dataclasses.replace(first, content=(
      'My card is 4111 1111 1111 1111, my key is sk-' + 'a1' * 20))
  write(tmp_path / 'sft.jsonl', [
      *rows_of('telecom_dialog_0', talks['telecom'][0].messages),
      *rows_of('telecom_dialog_1', (greeting, leaked, *rest)),
      *rows_of('retail_dialog_9', (dialogue.GREETING, types.Message(
          'user', held.scenario, requestor='user'), types.Message(
              'assistant', 'I see.')))])
  telecom = envs['telecom'].tasks('train')[0].id
  write(tmp_path / 'rl.jsonl', [
      task_row(envs['telecom'], telecom, db_path=None),
      task_row(env, held.id), '{"id": "broken"}',
      task_row(envs['telecom'], envs['telecom'].tasks('test')[0].id),
      task_row(envs['telecom'], telecom, id='wrong', correct=0)])
  published.synthesize(config, tmp_path / 'data')
  dialogues = list(episodes.read(tmp_path / 'data'))
  assert [t.id for t, _ in dialogues] == ['telecom_dialog_0',
                                          'telecom_dialog_1']
  tasks = episodes.tasks(tmp_path / 'data', 'train')
  assert [t.id for t in tasks] == [f'new_{telecom}']
  assert tasks[0].certificate.gold == (True,)
  manifest = files.read_json(tmp_path / 'data' / 'manifest.json')
  assert manifest['train']['rejected'] == {
      'Contamination: the entities of a task that is judged on': 3,
      'Read: not of the form of a task in config.domains': 1,
      'Failures: correct is 0': 1}
  assert manifest['flagged']['counts'] == {'card': 1, 'key or token': 1}
  assert 'a1a1' not in json.dumps(manifest)
  assert len(episodes.tasks(tmp_path / 'data', 'test')) == 80
  # And later stages can read it.
  env = env_load.load_many(config.domains, dict(config.env))
  texts = list(vocabulary.corpus(tmp_path / 'data', env))
  assert 'Something is wrong.' in texts and 'I see.' not in texts


def test_an_empty_start_is_the_start_of_the_domain(envs, tmp_path):
  row = task_row(envs['retail'], '0', initial_state={
      'initialization_data': None, 'message_history': []})
  path = write(tmp_path / 'rl.jsonl', [row])
  sample, = published.tasks(path, envs, tmp_path / 'dbs', drop_failures=True)
  assert sample.task.initial_state is None


def test_the_gold_run_of_a_task_tells_its_facts(envs):
  env = envs['retail']
  tasks = [t for t in env.tasks('train') if t.criteria.communicate_info][:3]
  found = [certify.with_certificate(env, t).certificate for t in tasks]
  assert [c.gold for c in found] == [(True,)] * 3
  assert not any(any(c.floors.values()) for c in found)


def test_a_task_brings_its_own_database(envs, config, tmp_path):
  env = envs['retail']
  task = next(t for t in env.tasks('train') if t.kind == 'do')
  database = json.loads(env._bench._env.tools.db.model_dump_json())
  for n, user in enumerate(database['users'].values()):
    user['email'] = f'{n}@example.org'
  (tmp_path / 'dbs').mkdir()
  (tmp_path / 'dbs' / 'one.json').write_text(json.dumps(database))
  path = write(tmp_path / 'rl.jsonl', [
      task_row(env, task.id, db_path='dbs/one.json'),
      task_row(env, task.id), task_row(env, task.id)])
  folder = tmp_path / 'data' / databases.FOLDER
  own = {'retail': tau2_domain.load('tau2:retail', {'databases': str(folder)})}
  samples = published.without_repeats(published.tasks(path, own, folder,
                                           drop_failures=True))
  assert [s.task.id if s.task else s.rejection.kind
          for s in samples] == [
      f'new_{task.id}', f'new_{task.id}-2', 'seen before']
  mine, plain = (s.task for s in samples[:2])
  assert mine.certificate.gold == plain.certificate.gold == (True,)
  emails = [next(iter(own['retail'].start(t).environment.tools.db
                      .users.values())).email for t in (mine, plain)]
  assert emails[0] == '0@example.org' != emails[1]
  with pytest.raises(ValueError, match='set config.env.databases'):
    env.start(mine)
  file, = folder.iterdir()
  file.write_text(file.read_text() + ' ')
  databases.find.cache_clear()
  with pytest.raises(ValueError, match='is corrupt'):
    own['retail'].start(mine)


def test_either_file_may_be_left_out(envs, config, tmp_path):
  task = envs['telecom'].tasks('train')[0].id
  config.domains, config.dialogues = ('tau2:telecom',), ''
  write(tmp_path / 'rl.jsonl', [task_row(envs['telecom'], task)])
  published.synthesize(config, tmp_path / 'data')
  assert len(episodes.tasks(tmp_path / 'data', 'train')) == 1
  with pytest.raises(ValueError, match='holds no dialogues'):
    next(episodes.read(tmp_path / 'data'))
  write(tmp_path / 'rl.jsonl', [task_row(envs['telecom'], task, correct=0)])
  with pytest.raises(ValueError, match="left.*'Failures: correct is 0': 1"):
    published.synthesize(config, tmp_path / 'none')


@pytest.mark.parametrize('name', ['dbs/none.json', '../../etc/hostname'])
def test_a_database_must_lie_in_the_corpus(name, envs, tmp_path):
  path = write(tmp_path / 'a' / 'rl.jsonl', [
      task_row(envs['retail'], '0', db_path=name)])
  with pytest.raises(ValueError, match='is no file below'):
    list(published.tasks(path, envs, tmp_path / 'dbs', drop_failures=True))
  assert not (tmp_path / 'dbs').exists()


def test_a_wrong_config_is_refused_before_anything_is_written(config, tmp_path):
  with pytest.raises(ValueError, match='config.dialogues=.* is not a file'):
    published.synthesize(config, tmp_path / 'data')
  config.dialogues = config.tasks = ''
  with pytest.raises(ValueError, match='Nothing to import'):
    published.synthesize(config, tmp_path / 'data')
  assert not (tmp_path / 'data').exists()
