"""Samples are pure, what is kept is certified, and mistakes are found."""

import collections
import dataclasses
import json
import random

import pytest

from agentrl.data import episodes
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.scale import statistics
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.llm import llm as llm_lib


@pytest.fixture
def make(streams):
  def found(context, count, split='train'):
    known = streams(context, split)
    return [sample_lib.draw(context, known[i % len(known)], split, i)
            for i in range(count)]
  return found


def test_a_sample_is_a_function_of_config_split_and_number(
    config, make_context, make, streams):
  wrong = dict.fromkeys(('intent', 'user', 'agent', 'checker', 'judge'), 0.3)
  text = config(mistakes=wrong)
  first = make(context_lib.make(config_lib.read(text)), 20)
  again = context_lib.make(config_lib.read(text))
  order = random.Random(0).sample(range(20), 20)
  known = streams(again)
  assert all(first[i] == sample_lib.draw(
      again, known[i % len(known)], 'train', i) for i in order)
  assert first != make(make_context(mistakes=wrong, seed=1), 20)


def test_without_mistakes_all_that_fits_is_kept(context, make):
  found = make(context, 40)
  assert {s.rejection and s.rejection.kind for s in found} <= {
      None, 'no caller fits'}
  assert not any(s.repaired for s in found)
  assert all(s.first_checker == sample_lib.FirstChecker(1.0)
             for s in found if s.task)


def test_what_is_kept_is_whole(context, make):
  env = context.envs['lamp_shop']
  for sample in make(context, 30):
    if not sample.task:
      continue
    task = sample.task
    assert task.certificate.score == 1 and task.certificate.killed > 0
    assert task.certificate.fingerprint == env.fingerprint()
    assert task.initial_state['split'] == 'train'
    assert task.split == 'train'
    assert all(word in task.scenario
               for demand in task.demands for word in demand.about)
    assert len(task.families) == len(task.demands)
    assert sample.messages[0] == dialogue.GREETING
    assert dialogue.is_stop(sample.messages[-1])
    assert env.fault(task, sample.messages) == ''
    episodes.verify(env, [task])


def test_test_tasks_are_certified_and_have_no_dialogue(context, make):
  kept = [s for s in make(context, 20, 'test') if s.task]
  assert kept and all(s.messages == () for s in kept)
  assert all(s.task.initial_state['split'] == 'test' for s in kept)
  assert all(s.task.certificate for s in kept)


@pytest.mark.parametrize('role, workers', [
    ('intent', {'TaskValidation'}),
    ('checker', {'Certificate'}),
    ('agent', {'TrajectoryValidation'}),
    ('user', {'TrajectoryValidation'}),
    ('judge', {'TrajectoryValidation'}),
])
def test_mistakes_of_a_role_are_found_by_the_one_who_looks(
    make_context, role, workers, make):
  found = make(make_context(mistakes={role: 1.0}), 40)
  rejected = collections.Counter(
      s.rejection.worker for s in found if s.rejection and s.had_caller)
  assert set(rejected) == workers
  assert rejected.total() > 8


def test_what_a_first_checker_passed_wrongly_is_counted(make_context, make):
  found = make(make_context(mistakes={'checker': 1.0}), 40)
  drafts = [s.first_checker for s in found if s.first_checker]
  wrong = collections.Counter(kind for d in drafts for kind in d.passed)
  assert len(wrong) > 1 and 'unwanted' in wrong
  assert all(d.score < 1 for d in drafts if set(d.passed) - {'passes to'})
  figures = statistics.describe(found)['mutants']
  assert figures['false_accepts'] == wrong
  assert (figures['first_with_false_accepts'], figures['first_checkers']) == (
      sum(d.passed != () for d in drafts), len(drafts))


def test_a_dialogue_that_fails_is_tried_once_more(make_context, make):
  found = make(make_context(mistakes={'agent': 0.5}), 40)
  mended = [s for s in found if s.task and s.repaired]
  assert mended
  assert all(s.repaired[0].part == sample_lib.Part.DIALOGUE for s in mended)


class Listener:
  """Keeps the critiques that sides of a dialogue are told of."""

  def __init__(self, llm):
    self.llm, self.told = llm, set()
    self.usage, self.wants_brief = llm.usage, llm.wants_brief

  def complete(self, messages, **kw):
    text, _, payload = messages[0].content.rpartition('\n')
    if (said := json.loads(payload).get('critique')) and not kw.get('schema'):
      assert said in text
      self.told.add(said)
    return self.llm.complete(messages, **kw)


def test_what_was_wrong_is_told_and_stays_with_the_task(make_context, streams):
  context = make_context(mistakes={'agent': 0.5, 'checker': 0.3})
  context = dataclasses.replace(context, llm=Listener(context.llm))
  found = [sample_lib.draw(context, s, 'x', i)
           for s in streams(context)[:4] for i in range(9)]
  kept = [s.task.meta.get('repaired', []) for s in found if s.task]
  assert [tuple(r['what'] for r in repairs) for repairs in kept] == [
      tuple(r.name for r in s.repaired) for s in found if s.task]
  critiques = {r['what'].partition(':')[0]: r['critique']
               for repairs in kept for r in repairs}
  assert set(critiques) == {'dialogue', 'checker'} and all(critiques.values())
  assert critiques['dialogue'] in {c[:sample_lib.SHOWN]
                                   for c in context.llm.told}


def test_databases_take_turns(make_context, streams):
  context = make_context(seed=3)
  stream = streams(context)[0]
  found = [sample_lib.draw(context, stream, 'x', i) for i in range(12)]
  seeds = {i % 2: s.task.initial_state['seed']
           for i, s in enumerate(found) if s.task}
  assert set(seeds.values()) == {6, 7}
  assert all(s.task.initial_state['seed'] == seeds[i % 2]
             for i, s in enumerate(found) if s.task)


def test_usage_is_counted_by_worker(context, make):
  sample = next(s for s in make(context, 5) if s.task)
  assert set(sample.usage) == {'UserIntent', 'ValidationFunction',
                               'DialogSynthesis', 'TrajectoryValidation'}
  own = sum(m.role != 'tool' for m in sample.messages) - 1  # greeting
  assert sample.usage['DialogSynthesis'].calls == own
  assert sample.usage['UserIntent'].calls == 1


def test_no_llm_of_that_name(make_context):
  with pytest.raises(ValueError, match="Did you mean 'Procedural'"):
    make_context(llm='agentrl.llm.stand_in.procedural:Procedure')


def test_kinds_are_mixed_as_asked(make_context, make):
  always = make(make_context(other_share=1.0), 20)
  never = make(make_context(other_share=0.0), 20)
  assert all(s.task.kind != 'do' for s in always if s.task)
  assert all(s.task.kind == 'do' for s in never if s.task)
  assert dataclasses.asdict(always[0]) != dataclasses.asdict(never[0])


class Astray:
  """Writes of a draft that it was not given."""

  usage = {}

  def complete(self, messages, *, stage, schema=None, tools=(), seed):
    demands = [{'draft': 7, 'goal': 'Fly me to the moon.'}]
    return llm_lib.Answer(None, {'scenario': 'You fly.', 'demands': demands})


def test_demands_of_no_draft_are_rejected(context, streams):
  stream = streams(context)[0]
  lost = dataclasses.replace(context, llm=Astray())
  found = [sample_lib.draw(lost, stream, 'x', i) for i in range(9)]
  assert {s.rejection.worker for s in found} <= {'UserIntent', 'RandomPool'}
  assert any(s.rejection.kind == 'no such draft' for s in found)


def test_without_validation_all_that_can_be_played_is_kept(
    make_context, streams):
  wrong = dict(agent=1.0, checker=1.0, judge=1.0)
  context = make_context(mistakes=wrong)
  found = [sample_lib.draw(context, s, 'x', i, validate=False)
           for s in streams(context) for i in range(4)]
  assert {s.rejection and s.rejection.kind for s in found} <= {
      None, 'no caller fits'}
  kept = [s for s in found if s.task]
  assert kept and all(s.messages and not s.task.certificate for s in kept)
  env = context.envs['lamp_shop']
  scores = []
  for s in kept:
    world, _ = replay.replay(env, s.task, replay.moves(s.messages))
    scores.append(env.score(s.task, world, s.messages, 'user_stop').reward)
  assert sum(scores) < len(scores) / 2
