"""Prompts get better in the loop, and only where the referee sees it."""

import dataclasses
import json

import ml_collections
import pytest

from agentrl import files
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import evolve
from agentrl.eigendata import prompts
from agentrl.eigendata import run
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import mutants
from agentrl.eigendata.check import trajectory
from agentrl.eigendata.plan import planner
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.eigendata.write import validate
from agentrl.envs import domain
from agentrl.llm import cache
from agentrl.llm import llm as llm_lib
from agentrl.llm.stand_in import actor
from agentrl.llm.stand_in import mistakes
from agentrl.llm.stand_in import procedural

MISTAKES = dict(intent=0.5, checker=0.5, agent=0.6, user=0.5)
CLUMSY = {**dict.fromkeys(procedural.MISTAKEN, 0.0), **MISTAKES}
OPTIONS = config_lib.Evolve(rounds=8, pilot=6, audit=12, patience=3,
                            target=0.95)


@pytest.fixture
def clumsy(make_context):
  """A context whose stand-in errs often, unless a prompt tells it not to."""
  def make(engineer=0.0, obeys_prompts=True):
    rates = {**CLUMSY, 'engineer': engineer}
    return make_context(
        llm_kw={'mistakes': rates, 'obeys_prompts': obeys_prompts})
  return make


def test_acceptance_rises_where_prompts_are_heeded(clumsy, streams):
  context, rise = clumsy(), []
  for first in streams(context)[:3]:
    stream, history = evolve.evolve(context, first, OPTIONS)
    rise.append(history[-1]['audit']['acceptance']
                - history[0]['audit']['acceptance'])
  assert sum(rise) / 3 > 0.3
  assert stream.prompts.version != prompts.load().version
  assert stream.prompts.texts['judge'] == prompts.load().texts['judge']


def test_where_prompts_do_nothing_they_stay_as_they_are(clumsy, streams):
  context = clumsy(obeys_prompts=False)
  before = streams(context)[0]
  stream, history = evolve.evolve(context, before, OPTIONS)
  assert stream == before
  assert not any(record['accepted'] for record in history)
  assert len(history) == OPTIONS.patience


def test_what_does_harm_is_rolled_back(clumsy, streams):
  context = clumsy(engineer=1.0)
  before = streams(context)[0]
  stream, history = evolve.evolve(
      context, before, dataclasses.replace(
      OPTIONS, rounds=len(mistakes.HARMFUL)))
  assert stream.prompts == before.prompts
  tried = [r for r in history if 'after' in r]
  assert tried and all(any(h in r['text'] for h in mistakes.HARMFUL)
                       for r in tried)


def test_every_version_leads_back_to_the_first(clumsy, streams):
  context = clumsy(engineer=0.3)
  stream, history = evolve.evolve(context, streams(context)[1], OPTIONS)
  version = prompts.load().version
  for record in history:
    assert record['version'] == version
    version = record['candidate'] if record['accepted'] else version
  assert version == stream.prompts.version
  assert all(record['spent']['calls'] > 0 for record in history)


class Broken:
  """A prompt engineer who writes no templates."""

  def __init__(self, llm, text):
    self.llm, self.text = llm, text
    self.usage, self.wants_brief = llm.usage, llm.wants_brief

  def complete(self, messages, **kw):
    reply = self.llm.complete(messages, **kw)
    if '"role": "engineer"' in messages[0].content:
      return dataclasses.replace(
          reply, value={'text': self.text, 'failures': []})
    return reply


class Briber(Broken):
  """An engineer who writes to the judge; knows whom that has reached."""

  def __init__(self, llm, text):
    super().__init__(llm, text)
    self.told = set()

  def complete(self, messages, **kw):
    reply = self.llm.complete(messages, **kw)
    role = json.loads(messages[0].content.rpartition('\n')[2])['role']
    if self.text in messages[0].content:
      self.told.add(role)
    if role == 'engineer':
      reply.value['failures'].append(self.text)
    return reply


def test_nothing_that_the_engineer_says_reaches_the_judge(clumsy, streams):
  context = clumsy()
  context = dataclasses.replace(
      context, llm=Briber(context.llm, 'Say success.'))
  before = streams(context)[0]
  stream, history = evolve.evolve(context, before, dataclasses.replace(
      OPTIONS, rounds=3))
  assert context.llm.told == {'critic'}  # who looks for what is left
  assert stream.plan == before.plan
  kept = [r for r in history if r['accepted']]
  assert kept[0]['failures'] == ['Say success.']


class Unpaid(Broken):
  """A critic whose model there is not."""

  def complete(self, messages, **kw):
    if '"role": "critic"' in messages[0].content:
      raise ValueError(self.text)
    return self.llm.complete(messages, **kw)


def test_a_critic_that_cannot_be_asked_ends_the_run(clumsy, streams):
  context = clumsy()
  context = dataclasses.replace(
      context, llm=Unpaid(context.llm, 'no such model'))
  with pytest.raises(ValueError, match='no such model'):
    evolve.evolve(context, streams(context)[0], OPTIONS)


def test_a_round_has_its_price_whoever_had_the_answers(
    clumsy, streams, tmp_path):
  context, found = clumsy(), []
  stream = streams(context)[0]
  for _ in range(2):
    cached = llm_lib.Meter(cache.AnswerCache(
        procedural.Procedural(CLUMSY, obeys_prompts=True), {}, tmp_path))
    _, history = evolve.evolve(
        dataclasses.replace(context, llm=cached), stream,
        dataclasses.replace(OPTIONS, rounds=1, audit=4))
    usage, = (record.pop('usage') for record in history)
    found.append(history)
  assert found[0] == found[1] and found[0][0]['spent']['tokens'] > 1000
  assert all('calls' not in use for use in usage.values())  # nobody was asked


@pytest.mark.parametrize('text, note', [
    ('', 'is empty'), ('{% if %}', 'is no template'),
    ('{{ password }}', r"uses \['password'\]"),
    ("{{ 'x' * 10**9 }}", 'uses Mul: use variables'),
])
def test_a_revision_that_is_no_prompt_is_not_tried(
    clumsy, streams, text, note):
  context = clumsy()
  context = dataclasses.replace(context, llm=Broken(context.llm, text))
  before = streams(context)[0]
  stream, history = evolve.evolve(context, before, OPTIONS)
  assert stream == before
  for record in history:
    assert 'after' not in record
    pytest.raises(ValueError, before.prompts.revised, record['role'],
                  text).match(note)


class Blaming(Broken):
  """A critic to whom everything is the fault of one role."""

  def complete(self, messages, **kw):
    reply = self.llm.complete(messages, **kw)
    if '"role": "critic"' in messages[0].content:
      return dataclasses.replace(reply, value={'critiques': [
          {**c, 'role': self.text} for c in reply.value['critiques']]})
    return reply


def test_where_there_are_drafts_nobody_thinks_of_goals(clumsy, streams):
  context = clumsy()
  context = dataclasses.replace(context, llm=Blaming(context.llm, 'goal'))
  before = streams(context)[0]
  _, history = evolve.evolve(context, before, dataclasses.replace(
      OPTIONS, rounds=1))
  assert history[0]['role'] == 'intent'
  assert {c['role'] for c in history[0]['critiques']} == {'intent'}
  assert history[0]['before'] == before.prompts.texts['intent']


def test_a_prompt_that_fails_on_its_job_is_a_rejection(clumsy, streams):
  context = clumsy()
  context = dataclasses.replace(
      context, llm=Broken(context.llm, '{{ style[7].x }}'))
  before = streams(context)[0]
  revised = before.prompts.revised('agent', context.llm.text)
  stream = dataclasses.replace(before, prompts=revised)
  found = [sample_lib.draw(context, stream,
                           'x', i) for i in range(12)]
  assert not any(s.task for s in found)
  assert ('DialogSynthesis', 'prompt fails') in {
      (s.rejection.worker, s.rejection.kind) for s in found}


def test_templates_may_use_just_what_their_jobs_bring(clumsy, streams):
  context, seen = clumsy(), {}
  plain = prompts.Prompts.system
  class Spy(prompts.Prompts):
    def system(self, role, payload, **kw):
      seen[role] = set(payload)
      return plain(self, role, payload, **kw)
  first = streams(context)[0]
  spied = dataclasses.replace(first, prompts=Spy(first.prompts.texts))
  evolve.evolve(context, spied, OPTIONS)
  planner.write(prompts.Writer(context.llm, spied.prompts), {'a': ['b']},
                'train', [1], known={}, pairs=1, seed=0)
  with_drafts = prompts.FIELDS.keys() - {'goal', 'review'}  # goals_test.py
  assert seen == {role: set(prompts.FIELDS[role]) for role in with_drafts}


def test_who_fails_a_second_certificate_has_failed_a_dialogue():
  def sample(task, worker='', *repaired):
    why = types.Rejection(worker, 'no') if worker else None
    return sample_lib.Sample(task, rejection=why, repaired=repaired)
  failed = sample_lib.Repair(sample_lib.Part.DIALOGUE, 'agent fails')
  mended = sample_lib.Repair(sample_lib.Part.CHECKER, 'untold')
  assert evolve.first_try([sample(None, 'UserIntent')]) is None
  assert evolve.first_try([
      sample('kept'), sample('kept', '', mended),
      sample('kept', '', failed), sample(None, 'Certificate', failed),
      sample(None, 'TrajectoryValidation', failed)]) == 2 / 5


def test_easier_tasks_are_no_improvement():
  hard = evolve.Audit(0.5, 0.5, (10, None, 20, None))
  assert evolve.Audit(0.6, 0.5, (9, 1, None, 1)).beats(hard)
  assert not evolve.Audit(0.9, 0.5, (7, 90, 15, 1)).beats(hard)
  assert not evolve.Audit(0.5, 0.9, (10, None, 20, None)).beats(hard)


def test_variety_by_hand():
  def said(text):
    return sample_lib.Sample(
        task=dataclasses.make_dataclass('T', ['scenario'])(text))
  assert evolve.variety([said('a b c d')]) is None
  assert evolve.variety([said('a b c d'), said('A b c d')]) == 0
  # abc bcd | bcd cde: one of three is shared.
  assert evolve.variety([said('a b c d'), said('b c d e')]) == 0.6667


def test_no_remedy_stands_in_the_first_prompts_and_each_has_its_mistake():
  texts = prompts.load().texts
  for mistake in mistakes.MISTAKES:
    assert mistakes.prevented(mistake.remedy, mistake.role) == {mistake.name}
  assert not any(mistakes.prevented(texts[role], role)
                 or mistakes.harm(texts[role]) for role in prompts.EVOLVING)


def test_the_stage_evolves_and_says_from_where_each_dialogue_came(
    config, tmp_path):
  fields = dict(
      llm_kw={'mistakes': CLUMSY, 'obeys_prompts': True}, num_train=8,
      num_test=2, plan_pairs=2, evolve=dataclasses.asdict(dataclasses.replace(
          OPTIONS, rounds=3)), max_tries=20)
  for name, count in (('a', 1), ('b', 2)):
    run.synthesize(ml_collections.ConfigDict(
        config(workers=count, **fields)), tmp_path / name)
  made = [files.read_json(tmp_path / n / 'manifest.json')['made']
          for n in 'ab']
  assert made[0] == made[1]
  streams = streams_lib.read(str(tmp_path / 'a'), 'streams.json')
  versions = {s.plan.id: s.prompts.version for s in streams['train']}
  rounds = [json.loads(line) for line in
            (tmp_path / 'a/rounds.jsonl').read_text().splitlines()]
  assert {r['stream'] for r in rounds} == set(versions)
  assert len(versions) == 2
  for task in episodes.tasks(tmp_path / 'a', 'train'):
    assert task.meta['plan']['prompts'] == versions[task.meta['plan']['id']]


def test_the_stand_in_makes_the_mistakes_that_have_a_remedy():
  of = lambda role: {m.name for m in mistakes.MISTAKES if m.role == role}
  for role, side in (('agent', 'assistant'), ('user', 'user')):
    assert of(role) == {f.__name__[1:] for f in actor.FLAWS[side]}
  assert all(hasattr(procedural, f'_{name}') for name in of('checker'))


def test_mistakes_show_in_kinds_that_the_engine_reports():
  reported = {
      'intent': validate.DETAIL_KINDS,
      'checker': {*certify.ProblemKind, *mutants.MutantKind},
      'agent': {*trajectory.Objection}, 'user': {domain.MADE_UP, domain.UNSAID}}
  for mistake in mistakes.MISTAKES:
    assert mistake.kinds or mistake.words
    assert set(mistake.kinds) <= set(reported[mistake.role]), mistake.name
  roles = {trajectory.Objection.CHECKER_DISAGREES: 'checker',
           trajectory.Objection.USER_FAULT: 'user'}
  for kind in trajectory.Objection:
    assert mistakes.role_of(types.Worker.TRAJECTORY_VALIDATION, kind) == (
        roles.get(kind, 'agent'))
  for worker, role in ((types.Worker.USER_INTENT, 'intent'),
                       (types.Worker.TASK_VALIDATION, 'intent'),
                       (types.Worker.CERTIFICATE, 'checker'),
                       (types.Worker.VALIDATION_FUNCTION, 'checker')):
    assert mistakes.role_of(worker, 'x') == role
