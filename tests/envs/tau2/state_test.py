"""Shared databases: nothing leaks, and a comparison is that of the hashes."""

import json
import random
import threading

import pytest

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.envs.tau2 import env as tau2_env
from agentrl.envs.tau2 import state

pytest.importorskip(
    'tau2.domains.retail',
    reason='needs the real benchmark: bash scripts/install_tau2.sh')


@pytest.fixture(scope='module', params=['airline', 'retail'])
def env(request):
  return env_load.load(f'tau2:{request.param}')


def run(env, task):
  world = env.start(task)
  world.execute([types.ToolCall(a.name, a.arguments)
                 for a in task.criteria.actions])
  return world


def test_gold_calls_leave_the_shared_rows_alone(env):
  before = env.start(env.tasks('base')[0]).environment.get_db_hash()
  for task in env.tasks('base'):
    run(env, task)
  assert env.start(env.tasks('base')[0]).environment.get_db_hash() == before


def test_equal_changes_are_equal_hashes(env):
  base, seen = env._bench.base, {}
  for task in random.Random(0).sample(env.tasks('base'), 12):
    world = run(env, task)
    changes = frozenset(base.changes(world.environment.tools.db).items())
    digest = world.environment.get_db_hash()
    assert seen.setdefault(changes, digest) == digest
  assert len(set(seen.values())) == len(seen) > 4


def test_walks_over_a_table_do_not_copy_it(env):
  calls = {'airline': ('search_onestop_flight', dict(
               origin='JFK', destination='SEA', date='2024-05-20')),
           'retail': ('find_user_id_by_name_zip', dict(
               first_name='Yusuf', last_name='Rossi', zip='19122'))}
  world = env.start(env.tasks('base')[0])
  result, = world.execute([types.ToolCall(*calls[env.domain])])
  assert not result.error and len(result.content) > 10
  db = world.environment.tools.db
  assert not any(getattr(db, name).own for name in type(db).model_fields)


def test_rows_are_copied_once_and_what_is_taken_out_is_a_change():
  table = state.SharedTable({'a': {'n': [1]}, 'b': {'n': [2]}})
  table['a']['n'].append(5)
  assert (table['a'], table.base['a']) == ({'n': [1, 5]}, {'n': [1]})
  assert table.get('b') is table['b'] is not table.base['b']
  assert table.get('c') is None and table.own == {'a', 'b'}
  del table['b']
  assert 'b' not in table and 'b' in table.base
  with pytest.raises(env_lib.ToolBroken, match='teach it'):
    table.update(x=1)


def test_a_change_that_cannot_be_seen_is_no_answer_of_a_tool(
    env, monkeypatch):
  world = env.start(env.tasks('base')[0])
  monkeypatch.setattr(type(world.environment.tools), 'calculate',
                      lambda self, expression: self.db.users.clear())
  with pytest.raises(env_lib.ToolBroken, match='teach it'):
    world.execute([types.ToolCall('calculate', {'expression': '1'})])


def test_many_threads_over_one_database(env):
  tasks = env.tasks('train')[:8]
  alone = [run(env, t).environment.get_db_hash() for t in tasks]
  found = [None] * len(tasks)
  def work(i):
    found[i] = run(env, tasks[i]).environment.get_db_hash()
  threads = [threading.Thread(target=work, args=(i,))
             for i in range(len(tasks))]
  for t in threads:
    t.start()
  for t in threads:
    t.join()
  assert found == alone


# What could hang a rollout.


@pytest.mark.parametrize('expression, result', [
    ('9**9**9', 'Error: int too large to convert to float'),
    ('2**9**9**9 - 1', 'Error: int too large to convert to float'),
    ('(9**99999)**99999', 'Error: int too large to convert to float'),
    ('2**5000', 'Error: int too large to convert to float'),
    ('9**9999 / 9**9998', '9.0'), ('2 * (3 + 4.5) - -1', '16.0'),
    ('7 // 2', '3.0'), ('1 / 0', 'Error: division by zero'),
    ('9**9**9 % 2', 'Error: Invalid characters in expression')])
def test_calculate_gives_what_the_package_would_or_an_error(
    env, expression, result):
  world = env.start(env.tasks('base')[0])
  answer, = world.execute([
      types.ToolCall('calculate', {'expression': expression})])
  assert answer.content == result
  assert answer.error == result.startswith('Error')


# Oddities that are the benchmark.


@pytest.mark.filterwarnings('ignore')
def test_types_are_stored_as_given():
  env = env_load.load('tau2:airline')
  task = env.tasks('base')[0]
  db = env.start(task).environment.tools.db
  key, row = next((k, r) for k, r in db.reservations.items()
                  if any('credit' in p.payment_id for p in r.payment_history))
  paid = next(p.payment_id for p in row.payment_history
              if 'credit' in p.payment_id)
  found = []
  for n in (3, 3.0, '3'):
    world = env.start(task)
    result, = world.execute([types.ToolCall('update_reservation_baggages', dict(
        reservation_id=key, total_baggages=n, payment_id=paid,
        nonfree_baggages=row.nonfree_baggages))])
    assert not result.error
    assert f'"total_baggages": {json.dumps(n)}' in result.content
    found.append(world.environment.get_db_hash())
  results = world.execute([types.ToolCall('calculate', {'expression': '2'})])
  assert results[0].content == '2.0'
  assert len(set(found)) == 3


def test_all_items_get_the_price_of_the_last_variant():
  """`modify_pending_order_items` of retail, as upstream."""
  env = env_load.load('tau2:retail')
  for task in env.tasks('base'):
    for a in task.criteria.actions:
      if a.name == 'modify_pending_order_items' and len(
          set(a.arguments['new_item_ids'])) > 1:
        world = run(env, task)
        order = world.environment.tools.db.orders[a.arguments['order_id']]
        prices = {i.price for i in order.items
                  if i.item_id in a.arguments['new_item_ids']}
        if order.status == 'pending (item modified)':
          assert len(prices) == 1
          return
  pytest.fail('no task has such a call')


def test_a_top_up_without_a_draft_bill_makes_a_random_bill():
  """The package's evaluator cannot replay a dialogue that has looked at it;
  the live state can be judged all the same."""
  env = env_load.load('tau2:telecom')
  task = next(t for t in env.tasks('train')
              if any(a.name == 'refuel_data' for a in t.criteria.actions))
  refuel = next(a for a in task.criteria.actions if a.name == 'refuel_data')
  ids = set()
  for _ in range(2):
    world = env.start(task)
    before = {b.bill_id for b in world.environment.tools.db.bills}
    world.execute([types.ToolCall(refuel.name, refuel.arguments)])
    ids |= {b.bill_id for b in world.environment.tools.db.bills} - before
    assert not env.score(task, world, [dialogue.GREETING], 'user_stop').error
  assert len(ids) in (0, 2)


# Versions.


def test_data_of_another_version_are_refused():
  with pytest.raises(ValueError, match="v1.0.1.*those of v0.2.1.*TAU2_DATA"):
    tau2_env.Tau2('retail', grading='v1.0.1')
  with pytest.raises(ValueError, match="no grading 'v0.2'.*'v0.2.1'"):
    tau2_env.Tau2('retail', grading='v0.2')
  telecom = [tau2_env.Tau2('telecom', grading=g) for g in ('v0.2.1', 'v1.0.1')]
  assert telecom[0].fingerprint() != telecom[1].fingerprint()


def test_a_task_that_hangs_on_a_judge_is_unjudged_without_one(
    monkeypatch, tmp_path):
  env = env_load.load('tau2:retail')
  task = env.tasks('train')[0]
  criteria = types.Criteria(
      actions=task.criteria.actions, nl_assertions=('The agent is kind.',),
      reward_basis=('DB', 'NL_ASSERTION'))
  task = types.Task(task.id + 'x', task.domain, task.scenario, criteria)
  world = run(env, task)
  talk = [dialogue.GREETING, types.Message('user', '###STOP###')]
  score = env.score(task, world, talk, 'user_stop')
  assert (score.reward, score.unjudged, score.db) == (0, True, 1)
  # Without the writes it has failed, whatever a judge would say.
  idle = env.score(task, env.start(task), talk, 'user_stop')
  assert (idle.reward, idle.unjudged) == (0, False)
  (tmp_path / 'kind_judge.py').write_text(
      'def fixed(verdict):\n'
      '  return lambda told, messages: [verdict for _ in told]\n')
  monkeypatch.syspath_prepend(tmp_path)
  seen = {env.fingerprint()}
  for verdict in (True, False):
    judged = tau2_env.Tau2('retail', judge='kind_judge:fixed',
                       judge_kw=dict(verdict=verdict))
    score = judged.score(task, world, talk, 'user_stop')
    assert (score.reward, score.unjudged) == (float(verdict), False)
    assert score.clauses['The agent is kind.'] == verdict
    seen.add(judged.fingerprint())
  assert len(seen) == 3
