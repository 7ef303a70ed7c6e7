"""Dialogues for tau2-bench telecom: certified, varied, never for its tests."""

import dataclasses
import random

import ml_collections
import pytest

from agentrl import jsons
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata.tau2 import certify
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.tau2 import stage as tau2_stage
from agentrl.eigendata.tau2.telecom import agent as telecom_agent
from agentrl.envs import dialogue
from agentrl.envs import replay

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')


@pytest.fixture(scope='module')
def env():
  return tau2_domain.load('tau2:telecom', {'prompt': 'brief'})


@pytest.fixture(scope='module')
def samples(env):
  return list(tau2_stage.write(env, env.tasks('train'), seed=0, per_task=2))


def test_every_train_task_gets_dialogues_that_the_evaluator_passes(
    env, samples):
  assert len(samples) == 148 and all(s.task for s in samples)
  for s in samples[::10]:  # the moves, played again by the rules
    world, end = replay.enact(env, s.task, replay.moves(s.messages))
    assert end.messages == s.messages
    assert env.score(s.task, world, end.messages, end.reason).reward == 1


def test_dialogues_are_short_varied_and_keep_to_the_policy(samples):
  words = {(m.role, m.content) for s in samples for m in s.messages
           if m.role != 'tool' and m.has_text}
  assert max(len(text.split()) for _, text in words) <= 20
  assert len({jsons.dumps(s.messages) for s in samples}) == len(samples)
  assert len({s.messages[1].content for s in samples}) >= 12
  for s in samples:
    assert all(len(m.tool_calls) <= 1 and not (m.is_call and m.has_text)
               for m in s.messages)
    calls = [c for m in s.messages for c in m.tool_calls]
    first = next(c for c in calls if c.requestor == 'assistant')
    assert first.name == 'get_customer_by_phone'
    handed = dialogue.TRANSFER in s.messages[-1].content
    assert handed == (s.task.kind == 'transfer')


def test_a_sample_is_a_function_of_seed_task_and_number(env, samples):
  again = list(tau2_stage.write(env, env.tasks('train')[5:6], 0, 2))
  assert [s.messages for s in again] == [s.messages for s in samples[10:12]]
  other = list(tau2_stage.write(env, env.tasks('train')[5:6], 1, 2))
  assert other[0].messages != again[0].messages


def test_the_agent_does_not_see_the_gold_actions(env):
  task = env.tasks('train')[-1]
  blind = dataclasses.replace(task, criteria=types.Criteria())
  seen, unseen = (telecom_agent.solve(telecom_agent.TelecomDialogue(
      env, t, random.Random(3))).messages for t in (task, blind))
  assert seen == unseen


def test_nothing_is_written_for_the_test_split(env):
  for tasks in (env.tasks('test')[:1], env.tasks('base')):
    with pytest.raises(ValueError, match='held out.*test split'):
      next(tau2_stage.write(env, tasks, seed=0, per_task=1))


def test_nothing_is_written_for_base_if_that_is_what_judges(env):
  train = env.tasks('train')[:1]
  with pytest.raises(ValueError, match='and base'):
    next(tau2_stage.write(env, train, seed=0, per_task=1, judged_on='base'))
  base = {t.id for t in env.tasks('base')}
  new = [s.task for s in tau2_stage.new_tasks(env, 0, 3)]
  assert len({t.id for t in new} - base) == 3
  assert all(t.certificate.gold == (True,) for t in new)
  sample, = tau2_stage.write(env, new[:1], 0, 1, judged_on='base')
  assert sample.task


def test_what_scores_nothing_is_dropped_with_its_reason(env, monkeypatch):
  monkeypatch.setattr(telecom_agent, '_account', lambda *args: ('', ''))
  task = next(t for t in env.tasks('train')
              if 'data_usage_exceeded' in t.families)
  sample, = tau2_stage.write(env, [task], seed=0, per_task=1)
  assert (sample.task, sample.rejection.worker) == (
      None, 'TrajectoryValidation')
  assert 'assert_data_refueling_amount' in sample.rejection.detail


def test_the_same_dialogue_is_kept_once(env, monkeypatch):
  monkeypatch.setattr(tau2_stage.seeds, 'seed_of', lambda *parts: 7)
  first, second = tau2_stage.write(env, env.tasks('train')[:1], 0, 2)
  assert first.task and (second.task, second.rejection.worker) == (
      None, 'Duplicates')


def test_the_certificate_says_what_was_executed(env):
  by_kind = {t.kind: t for t in env.tasks('train')}
  found = {kind: certify.with_certificate(env, task).certificate
           for kind, task in by_kind.items()}
  for kind, c in found.items():
    assert c.gold == (True,)
    assert c.floors == {'noop': False, 'refuse': False,
                        'transfer': kind == 'transfer'}
  assert found['transfer'].score == 1 and found['transfer'].killed
  # Twelve gold calls, each left out and made twice; and their arguments.
  do = found['do']
  assert do.mutants == 24 + 12 and do.killed >= 24
  # Telecom's evaluator asserts what was wrong at the start, and no more.
  assert do.survivors == ('suspend_line unwanted',
                          'another enable_roaming unwanted')
  assert do.score == round(do.killed / (do.killed + 2), 4)


def test_the_stage_writes_what_later_stages_read(env, tmp_path):
  config = ml_collections.ConfigDict(dict(
      seed=0, domains=('tau2:telecom',), env=dict(prompt='brief'),
      splits_train=('small',), per_task=1, num_new=2,
      judged_on='test', drop_flagged=False))
  tau2_stage.synthesize(config, tmp_path)
  found = list(episodes.read(tmp_path))
  assert [t.id for t, _ in found][:20] == [t.id for t in env.tasks('small')]
  assert len(episodes.tasks(tmp_path, 'train')) == len(found) == 22
  tests = episodes.tasks(tmp_path, 'test')
  assert [t.id for t in tests] == [t.id for t in env.tasks('test')]
  assert {t.id for t, _ in found}.isdisjoint(t.id for t in tests)
  assert all(t.certificate for t in tests)
  before = (tmp_path / 'manifest.json').read_text()
  tau2_stage.synthesize(config, tmp_path)
  assert (tmp_path / 'manifest.json').read_text() == before


def test_a_wrong_config_is_refused_before_anything_is_written(tmp_path):
  config = ml_collections.ConfigDict(dict(
      seed=0, domains=('tau2:telecom',), env=dict(prompt='brief'),
      splits_train=('base',), per_task=1, num_new=0,
      judged_on='test', drop_flagged=False))
  with pytest.raises(ValueError, match='test split'):
    tau2_stage.synthesize(config, tmp_path / 'data')
  config.domains = ('orders',)
  with pytest.raises(ValueError, match='tau2:telecom, .* alone'):
    tau2_stage.synthesize(config, tmp_path / 'data')
  assert not (tmp_path / 'data').exists()
