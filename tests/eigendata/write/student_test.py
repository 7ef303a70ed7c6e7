"""A student plays the audits: how hard tasks are, and if they stay so."""

import dataclasses
import json
import re

import ml_collections
import pytest

from agentrl import files
from agentrl import types
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import evolve
from agentrl.eigendata import prompts
from agentrl.eigendata import run
from agentrl.eigendata.write import student as student_lib
from agentrl.llm import llm as llm_lib
from agentrl.llm.stand_in import mistakes
from agentrl.llm.stand_in import procedural
from agentrl.report import html

OPTIONS = dict(rounds=2, pilot=4, audit=10, patience=2, target=0.99)
MISTAKES = {**dict.fromkeys(procedural.MISTAKEN, 0.0), 'intent': 0.5,
            'agent': 0.3, 'user': 0.3}


def call(name, /, **arguments):
  return types.Message('assistant', tool_calls=(
      types.ToolCall(name, arguments),))


ONLY = {'hangs up': types.Message('assistant', 'I hang up. ###STOP###'),
        'is silent': types.Message('assistant', ' '),
        'is cut off': types.Message('assistant', 'Er, that is'),
        'breaks a tool': call('show_lamp', lamp='no-lamp')}


class Shopkeeper:
  """Serves the lamp shop by what it is told and shown, or `only` does this."""

  def __init__(self, only=''):
    self.only = only

  def complete(self, messages, *, schema=None, tools=(), seed):
    prompt = types.Message('system', 'You are the assistant for lamp_shop.')
    assert messages[0] == prompt and not tools
    said = ONLY[self.only] if self.only else self._act(messages)
    end = 'truncated' if self.only == 'is cut off' else 'stop'
    return llm_lib.Answer(said, usage=llm_lib.Usage(7, 3, 1), end=end)

  def _act(self, messages):
    last, wishes = messages[-1], [m for m in messages if m.role == 'user']
    if len(wishes) == 1 and last.role == 'user':
      return types.Message('assistant', 'Your name?')
    if not any(m.is_call for m in messages):
      name = re.search(r'(Ann|Bob|Cid) \w+', last.content)[0]
      return call('find_person', name=name)
    if last.role == 'tool':
      return self._report(last.content, wishes)
    if 'Yes' in last.content:
      key, level = self._order(wishes)
      return call('set_level', lamp=key, level=level)
    return self._start(last.content)

  def _order(self, wishes):
    found = [re.search(r'([a-z]+-[a-z]+) to (\d)', m.content) for m in wishes]
    *_, (key, level) = [m.groups() for m in found if m]
    return key, int(level)

  def _report(self, result, wishes):
    if result == 'transferred':
      return types.Message('assistant', 'A human takes over.')
    if re.match(r'(Ann|Bob|Cid) ', result):
      return self._start(wishes[0].content)
    key, level = self._order(wishes)
    return types.Message('assistant', (
        f'{key} is broken, I cannot.' if 'broken True' in result else
        f'Set {key} to {level}, okay?' if 'broken' in result else
        f'Done, {key} has level {level}.'))

  def _start(self, wish):
    if found := re.search(r'([a-z]+-[a-z]+) to \d', wish):
      return call('show_lamp', lamp=found[1])
    if found := re.search(r'([a-z]+-[a-z]+) plugged', wish):
      return types.Message('assistant', f'Then {found[1]} shines.')
    if 'dark' in wish:
      return types.Message('assistant', 'Is it plugged in?')
    return call('transfer_to_human', reason='sale')


@pytest.fixture
def taught(make_context):
  """`taught(**kw)`: a context whose student is `Shopkeeper(**kw)`; `user` is
  how often the user errs."""
  def make(user=0.3, **kw):
    return make_context(
        evolve=OPTIONS,
        llm_kw={'mistakes': {**MISTAKES, 'user': user}, 'obeys_prompts': True},
        llm_roles={'Student': {'llm': 'student_test:Shopkeeper', **kw}})
  return make


def audit(context, stream):
  return evolve._audit(context, stream, 12, stream.prompts, [])


@pytest.mark.parametrize('only, rate', [
    ('', 1.0), ('hangs up', 0.0), ('is silent', 0.0), ('is cut off', 0.0)])
def test_who_can_do_it_solves_all_and_who_hangs_up_none(
    taught, streams, only, rate):
  context = taught(only=only)
  found = audit(context, streams(context)[0]).to_json()
  assert found['pass_rate'] == rate
  kept = sum(n is not None for n in found['mutants'])
  assert 3 <= found['tasks'] <= kept
  assert sum(s is not None for s in found['solved']) == found['tasks']


def test_what_is_not_of_its_making_does_not_count(taught, streams):
  context = taught(only='breaks a tool')
  found = audit(context, streams(context)[0]).to_json()
  assert found['pass_rate'] is None and found['tasks'] == 0

  context = taught()
  context = dataclasses.replace(context, llm=Mute(context.llm))
  found = audit(context, streams(context)[0]).to_json()
  assert found['tasks'] == 0 and found['acceptance'] > 0


class Mute:
  """A meter whose user has nothing to say to a student's first words."""

  def __init__(self, llm):
    self.llm, self.usage, self.wants_brief = llm, llm.usage, llm.wants_brief

  def complete(self, messages, *, stage, **kw):
    if 'Student' in self.usage and stage == 'DialogSynthesis':
      raise llm_lib.Refused('no', stage=stage)
    return self.llm.complete(messages, stage=stage, **kw)


class Terse:
  """A meter whose dialogues want short prompts, and are over at once."""

  def __init__(self):
    self.asked = []

  def wants_brief(self, stage):
    return stage == 'DialogSynthesis'

  def complete(self, messages, **kw):
    del kw
    self.asked.append(messages[0].content)
    return llm_lib.Answer(types.Message('assistant', 'Bye. ###STOP###'))


def test_the_user_of_a_student_has_the_prompt_that_its_model_wants(
    context, writer, streams, intended):
  plan = streams(context)[0].plan
  source = context.sources[plan.domain]
  draw = source.draw(plan, 0, database=0, other_share=0.0)
  intent, task = intended(source, writer, draw)
  llm = Terse()
  assert not student_lib.solves(prompts.Writer(llm, writer.prompts), source.env,
                                task, intent, draw, seed=0)
  assert '\nYou: ' in llm.asked[0] and '"script"' not in llm.asked[0]


def test_users_who_learn_do_not_make_tasks_easier(taught, streams):
  context = taught(user=0.9)
  first = streams(context)[0]
  remedies = ' '.join(m.remedy for m in mistakes.MISTAKES if m.role == 'user')
  better = dataclasses.replace(
      first, prompts=first.prompts.revised('user', remedies))
  solved = [evolve._audit(context, stream, 30, user.prompts, []).solved
            for stream, user in ((first, first), (better, first),
                                 (better, better))]
  pairs = evolve._both(solved[0], solved[1])
  assert len(pairs) > 3 and all(a == b for a, b in pairs)
  assert solved[2].count(None) < solved[1].count(None)


def seen(acceptance, *solved):
  return evolve.Audit(acceptance, None, (5,) * len(solved), solved)


def test_easier_for_the_student_is_no_improvement():
  hard = seen(0.5, *[False] * 6, None, True)
  assert seen(0.6, *[True] * 4, False, False, True, True).beats(hard)
  # Five gains and no loss come by chance once in 32 times, with a loss 7 in 64.
  assert not seen(0.6, *[True] * 5, False, True, True).beats(hard)
  assert seen(0.6, *[True] * 5, False, True, False).beats(hard)
  assert seen(0.6, *[True] * 5, *[None] * 3).beats(seen(0.5, *[None] * 8))
  assert evolve.Audit(0.6, None, (5,)).beats(evolve.Audit(0.5, None, (5,)))


def test_small_steps_add_up(taught, streams, monkeypatch):
  zero, half, most = (seen(share, *[True] * n, *[False] * (8 - n))
                      for share, n in ((0.5, 0), (0.6, 4), (0.7, 8)))
  assert half.beats(zero) and most.beats(half) and not most.beats(half, zero)
  audits = iter([zero, half, most])
  monkeypatch.setattr(evolve, '_audit', lambda *args: next(audits))
  context = taught()
  _, history = evolve.evolve(context, streams(context)[0],
                             config_lib.Evolve(**OPTIONS))
  assert [r['accepted'] for r in history] == [True, False]


@pytest.fixture
def made(config, tmp_path):
  """`made(name, roles)`: the folder of a run, its rounds and its manifest."""
  def make(name, **fields):
    run.synthesize(ml_collections.ConfigDict(config(
        evolve=OPTIONS, llm_kw={'mistakes': MISTAKES, 'obeys_prompts': True},
        plan_pairs=2, num_train=4, num_test=0, max_tries=20, **fields)),
                   tmp_path / name)
    lines = (tmp_path / name / 'rounds.jsonl').read_text().splitlines()
    return (tmp_path / name, list(map(json.loads, lines)),
            files.read_json(tmp_path / name / 'manifest.json'))
  return make


def test_a_run_tells_how_hard_its_rounds_were_and_what_that_cost(made):
  student = {'Student': {'llm': 'student_test:Shopkeeper'}}
  folder, rounds, manifest = made('a', llm_roles=student)
  assert {r['audit']['pass_rate'] for r in rounds} == {1.0}
  assert all(r['audit']['tasks'] > 0 for r in rounds)
  stage = manifest['cost']['stages']['Student']
  assert stage['calls'] > 20
  assert stage['completion_tokens'] == 3 * stage['calls']
  assert 'Pass rate of the student' in html.write_data(folder).read_text()

  _, again, same = made('b', llm_roles=student, workers=2,
                          runner='agentrl.eigendata.scale.runners:threads')
  assert again == rounds and same['made'] == manifest['made']

  folder, without, manifest = made('c')
  assert 'Student' not in manifest['cost']['stages']
  assert 'of the student' not in html.write_data(folder).read_text()
  for record, plain in zip(rounds, without, strict=True):
    for found in (record['audit'], record.get('after', {})):
      for name in ('solved', 'pass_rate', 'tasks'):
        found.pop(name, None)
    assert record | {'spent': plain['spent']} == plain
    assert set(plain['spent']) == {'calls', 'tokens', 'dollars'}


@pytest.mark.parametrize('fields, words', [
    (dict(evolve={**OPTIONS, 'rounds': 0}), 'config.evolve.rounds is 0'),
    (dict(evolve=OPTIONS, llm_roles={'Student': {}}), 'cannot be a student'),
])
def test_a_student_that_could_not_play_is_an_error(
    make_context, streams, fields, words):
  student = {'Student': {'llm': 'student_test:Shopkeeper'}}
  with pytest.raises(ValueError, match=words):
    context = make_context(**{'llm_roles': student, **fields})
    audit(context, streams(context)[0])
