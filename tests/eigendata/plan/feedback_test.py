"""What a student fails at is found, named, and weighs more."""


import ml_collections
import pytest

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import run
from agentrl.eigendata.plan import feedback
from agentrl.eigendata.plan import planner
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.envs import load as env_load
from agentrl.stage import runs

O = types.Outcome


@pytest.fixture
def data(config, tmp_path):
  run.synthesize(ml_collections.ConfigDict(config()),
                 tmp_path / 'data')
  return tmp_path / 'data'


@pytest.fixture
def evaluate(data, tmp_path):
  """`evaluate(outcome)`: an evaluation where each task ends so."""
  def make(outcome, clauses=None, split='test', **config):
    fields = {'data': str(data), 'split': split, **config}
    stage = runs.start(tmp_path / 'eval', 'eval',
                       ml_collections.ConfigDict(fields))
    tasks = (episodes.tasks(data, split) if fields['data'] else
             env_load.load_many(config['domains'], config['env']).tasks(split))
    files.write_lines(stage.folder / 'transcripts.jsonl', (
        jsons.dumps({'domain': t.domain, **jsons.to_json(types.Episode(
            t.id, 0, (), 'user_stop', outcome(t),
            types.Score(0.0, clauses=clauses or {}), 3))})
        for t in tasks))
    stage.finish()
    return tmp_path / 'eval'
  return make


def test_failures_are_clustered(data, evaluate):
  tasks = episodes.tasks(data, 'test')
  bad = tasks[0].families[0]
  found = feedback.read(evaluate(
      lambda t: O.FAILURE if bad in t.families else O.SUCCESS,
      {'lamps.big-lamp.level is 30': False, 'told: 5': True,
       'set_level was done 1x': False}))
  failed = sum(bad in t.families for t in tasks)
  assert (found['failed'], found['counted']) == (failed, len(tasks))
  assert found['families']['lamp_shop'][bad] == [failed, failed]
  assert found['clauses'] == {'lamps.*.level is *': failed,
                              'set_level was done *': failed}
  gold = {a.name for t in tasks if bad in t.families
          for a in t.criteria.actions}
  assert set(found['tools']) == gold


def test_train_tasks_may_have_been_judged(data, evaluate):
  found = feedback.read(evaluate(lambda t: O.FAILURE, split='train'))
  assert found['counted'] == len(episodes.tasks(data, 'train'))


def test_an_evaluation_on_the_benchmark_weighs_its_tools(evaluate):
  pytest.importorskip('tau2.domains.retail', reason='needs the benchmark')
  def outcome(task):
    called = {a.name for a in task.criteria.actions}
    bad = 'cancel_pending_order' in called
    return O.FAILURE if bad else O.SUCCESS
  found = feedback.read(evaluate(
      outcome, split='train', data='', domains=['tau2:retail'], env={}))
  families = found['families']['tau2:retail']
  failed, counted = families['cancel_pending_order']
  assert failed == counted == found['failed'] > 0
  assert families['exchange_delivered_order_items'][1] > 0
  plans = [planner.Plan('x', 'tau2:retail', 'train', ((name,),), 'brief')
           for name in ('cancel_pending_order', 'modify_user_address')]
  first, second = feedback.weigh(plans, found)
  assert first.emphasis > second.emphasis


def test_faults_of_the_user_count_neither_way(data, evaluate):
  found = feedback.read(evaluate(lambda t: O.USER_FAULT))
  assert (found['failed'], found['counted'], found['families']) == (0, 0, {})


def test_families_that_fail_weigh_more():
  plans = [planner.Plan(name, 'shop', 'train', sets, 'brief')
           for name, sets in (('x', (('a', 'b'), ('a', 'c'))),
                              ('y', (('b', 'd'), ('b', 'c'))))]
  found = {'families': {'shop': {'a': [9, 10], 'b': [0, 10], 'c': [1, 10]}}}
  first, second = feedback.weigh(plans, found)
  # a 1.15, b 0.25, c 0.35; d was never evaluated: 1.25.
  assert first.emphasis == (0.7, 0.75) and second.emphasis == (0.75, 0.3)
  weights = planner.weigh([first, second], (0, 1.0))
  assert weights[0] / weights[1] == pytest.approx(0.725 / 0.525)


def test_the_next_corpus_is_planned_by_what_failed(
    config, data, evaluate, tmp_path):
  bad = episodes.tasks(data, 'test')[0].families[0]
  folder = evaluate(lambda t: O.FAILURE if bad in t.families else O.SUCCESS)
  settings = config(feedback=str(folder), num_test=1)
  run.synthesize(ml_collections.ConfigDict(settings), tmp_path / 'next')
  streams = streams_lib.read(str(tmp_path / 'next'), 'streams.json')
  assert not any(s.plan.emphasis for s in streams['test'])
  for stream in streams['train']:
    weights = dict(zip(stream.plan.combinations, stream.plan.emphasis))
    assert weights
    for combination, weight in weights.items():
      if bad in combination:
        assert weight == max(weights.values())
  said = files.read_json(tmp_path / 'next/manifest.json')
  assert said['feedback']['families'] and 'feedback' in said['inputs']


def test_what_has_no_weight_is_not_drawn(context):
  plan = planner.Plan('x', 'lamp_shop', 'train', (('dim',), ('sell',)),
                      'brief', emphasis=(0.0, 1.0))
  found = [context.sources['lamp_shop'].draw(plan, i, database=0,
                               other_share=1.0) for i in range(9)]
  assert {d.family for s in found for d in s.drafts} == {'sell'}


def test_another_stage_is_refused(data):
  with pytest.raises(ValueError, match="is a stage 'data'"):
    feedback.read(data)
