"""Generated tasks of airline and retail: certified, apart, told in full."""

import dataclasses
import itertools
import json
import re

import pytest

from agentrl import jsons
from agentrl import types
from agentrl.eigendata import rejection
from agentrl.eigendata.tau2 import certify
from agentrl.eigendata.tau2 import database
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.tau2 import held_out
from agentrl.eigendata.tau2 import tasks as tau2_tasks
from agentrl.eigendata.tau2.airline import records as airline_records
from agentrl.envs import dialogue

pytest.importorskip(
    'tau2.domains.airline',
    reason='needs the real benchmark: pip install -e .[tau2]')

COUNT = 30


@pytest.fixture(scope='module', params=tau2_tasks.DOMAINS)
def env(request):
  return tau2_domain.load(f'tau2:{request.param}', {'prompt': 'brief'})


@pytest.fixture(scope='module')
def samples(env):
  return list(tau2_tasks.generate(env, seed=3, count=COUNT))


@pytest.fixture(scope='module')
def tasks(samples):
  return [s.task for s in samples if s.task]


def _gold(env, task):
  """(call, result) of the gold actions, one after the other."""
  world = env.start(task)
  return [(a, world.execute([types.ToolCall(a.name, a.arguments)])[0])
          for a in task.criteria.actions]


def test_gold_runs_unrefused_and_the_certificate_holds_again(env, tasks):
  assert len(tasks) == COUNT
  for task in tasks:
    assert not [r.content for _, r in _gold(env, task) if r.error]
    bare = dataclasses.replace(task, certificate=None)
    assert certify.require_certificate(env, bare) == task
    c = task.certificate
    assert c.gold == (True,) and not c.survivors
    assert c.mutants == c.killed + c.equivalent
    assert task.kind != 'do' or (c.killed and not any(c.floors.values()))


def test_what_is_asked_and_what_is_forbidden_decides_the_kind(env, tasks):
  writes = database.write_names(env)
  for task in tasks:
    names = {a.name for a in task.criteria.actions}
    refused = [f for f in task.families if f.startswith('no_')]
    assert ('transfer_to_human_agents' in names) == (task.kind == 'transfer')
    if task.kind == 'refuse':
      assert not names & writes and len(refused) == len(task.families)
    assert task.split == 'other' and task.meta['generated']
  assert {'do', 'refuse'} <= {t.kind for t in tasks}
  assert len({f for t in tasks for f in t.families}) >= 9
  assert len({t.scenario for t in tasks}) == COUNT


def test_a_task_is_a_function_of_seed_and_number(env, samples):
  for i in (7, 2):
    assert tau2_tasks.make(env, 3, i) == samples[i]
  assert tau2_tasks.draft(env, 4, 2) != tau2_tasks.draft(env, 3, 2)


def _about_user(env, user, name):
  """A write that gives the customer (of a trip, the first passenger) a name
  or a street; None leaves all as it is."""
  db = database.tables(env)
  if env.domain == 'retail':
    address = db['users'][user]['address']
    return types.Action('modify_user_address', {
        'user_id': user, **address, 'address1': name or address['address1']})
  trip = db['reservations'][db['users'][user]['reservations'][0]]
  first, *others = trip['passengers']
  first = {**first, 'last_name': name or first['last_name']}
  return types.Action('update_reservation_passengers', {
      'reservation_id': trip['reservation_id'],
      'passengers': [first, *others]})


def test_what_cannot_be_believed_is_rejected(env, tasks):
  user = next(t.meta['user'] for t in tasks if t.families != ('book',))
  keep, one, two = (_about_user(env, user, n) for n in (None, 'One', 'Two'))

  def reason(*demands, facts=(), forbidden=()):
    call = lambda action: types.ToolCall(action.name, action.arguments)
    actions = sum(demands, ())
    ends = list(itertools.accumulate(map(len, demands), initial=0))
    task = types.Task(
        'planted', env.name, 'You want nothing.', types.Criteria(
            actions=actions, communicate_info=facts,
            reward_basis=('DB', 'COMMUNICATE')),
        gold=types.GoldRun((
            *(types.Message('assistant', tool_calls=(call(a),))
              for a in actions),
            types.Message('assistant', f'It is {" and ".join(facts)}.'),
            types.Message('user', dialogue.STOP, requestor='user')),
                           tuple(range(len(actions)))),
        demands=(*(types.TaskDemand('', '', writes=tuple(range(*places)))
                   for places in itertools.pairwise(ends)),
                 types.TaskDemand('', '', kind='refuse', forbidden=tuple(
                     map(call, forbidden)))),
        meta={'user': user})
    try:
      return bool(certify.require_certificate(env, task)) and 'kept'
    except rejection.SampleRejected as e:
      return e.rejection.kind

  assert reason((one,)) == 'kept'
  wrong = types.Action('get_user_details', {'user_id': 'nobody'})
  assert reason((wrong, one)) == 'gold is refused'
  assert reason((keep,)) == 'passes to'
  assert reason((one,), (two,)) == 'gold run fails'  # in the other order
  assert reason((two, one)) == 'a write changes nothing'
  assert reason((one,), facts=('you want',)) == 'a fact is told anyway'
  assert reason((one,), facts=('1234', '123')) == 'a fact is told anyway'
  assert reason((one,), forbidden=(keep,)) == 'the forbidden passes'
  assert reason(forbidden=(two,)) == 'kept'


def test_tasks_of_the_benchmark_would_be_refused(env, tasks):
  for split, why in (('test', 'customer of a test task'),
                     ('base', 'of a test task|of the benchmark')):
    for planted in env.tasks(split):
      assert _users(env, planted)  # nobody is overlooked
      assert re.search(why, held_out.clash(env, planted)), planted.id
  assert not any(held_out.clash(env, t) for t in tasks)
  # With the writes of a task of the benchmark, in whatever words.
  taken = next(t for t in env.tasks('train') if len([
      a for a in t.criteria.actions
      if a.name in database.write_names(env)]) > 1)
  planted = dataclasses.replace(
      tasks[0], criteria=dataclasses.replace(
          tasks[0].criteria, actions=taken.criteria.actions[::-1]))
  assert 'the writes of' in held_out.clash(env, planted)


def _users(env, task):
  """Customers in a task, found by what is theirs alone: ids, emails, zips."""
  text = (task.scenario + jsons.dumps(task.criteria)).lower()
  found = set()
  for key, user in database.tables(env)['users'].items():
    name = ' '.join(user['name'].values()).lower()
    ids = [key, user['email'], *user.get('orders', ()),
           *user.get('reservations', ())]
    if any(i.lower() in text for i in ids) or (
        name in text and user['address']['zip'] in text):
      found.add(key)
  return found


def test_customers_of_test_tasks_never_occur(env, tasks):
  held = {u for t in env.tasks('test') for u in _users(env, t)}
  assert len(held) >= 15
  assert held.isdisjoint(held_out.customers(env))
  for task in tasks:
    assert _users(env, task) and held.isdisjoint(_users(env, task))
    assert task.meta['user'] not in held


def test_the_words_tell_all_that_the_gold_arguments_hang_on(env, tasks):
  db, checked = database.tables(env), 0
  missing = _retail_missing if env.domain == 'retail' else _airline_missing
  for task in tasks:
    user, text = db['users'][task.meta['user']], task.brief
    for a in task.criteria.actions:
      if a.name in database.write_names(env):
        lacks = [m for m in missing(db, user, a, text)
                 if not re.search(m, text)]
        assert not lacks, (task.id, a, text)
        checked += 1
  assert checked >= 10


def _method(user, key):
  """Patterns of words that leave no choice between payment methods."""
  methods, source = user['payment_methods'], key.rsplit('_', 1)[0]
  if sum(m['source'] == source for m in methods.values()) == 1:
    kind = {'paypal': 'PayPal'}.get(source, source.replace('_', ' '))
    return f'your {kind}|original payment'
  return f'{key}|ending in {methods[key].get("last_four", key)}|original pay'


def _retail_missing(db, user, action, text):
  a = action.arguments
  yield from (re.escape(a[k]) for k in (
      'address1', 'address2', 'city', 'state', 'zip', 'country') if k in a)
  if 'payment_method_id' in a:
    yield _method(user, a['payment_method_id'])
  if 'reason' in a:
    yield {'no longer needed': 'need', 'ordered by mistake': 'mistake'}[
        a['reason']]
  if 'order_id' not in a:
    return
  items = {i['item_id']: i for i in db['orders'][a['order_id']]['items']}
  names = '|'.join(re.escape(i['name']) for i in items.values())
  yield f'{a["order_id"]}|your order with the ({names})'
  for old, new in zip(a.get('item_ids', ()), a.get('new_item_ids', ())):
    options = db['products'][items[old]['product_id']]['variants'][new][
        'options']
    for key, value in options.items():
      if items[old]['options'][key] != value:
        yield f'{re.escape(f"{key} {value}")}|cheapest'
  yield from (items[i]['name'] for i in a.get('item_ids', ()))


def _airline_missing(db, user, action, text):
  a = action.arguments
  old = db['reservations'].get(a.get('reservation_id'), {})
  if old:
    yield (f'{a["reservation_id"]}|trip from .*{old["origin"]}.* to '
           f'.*{old["destination"]}')
  known = [airline_records.flight_keys([f])[0] for f in old.get('flights', ())]
  for f in a.get('flights', ()):
    if f not in known:
      yield rf'(cheapest direct flight|{f["flight_number"]}\b.*) on ' + (
          rf'{airline_records.day(f["date"])}\b')
  yield from (_method(user, p['payment_id'])
              for p in a.get('payment_methods', ()))
  if 'payment_id' in a:
    yield _method(user, a['payment_id'])
  for p in a.get('passengers', ()):
    itself = p['first_name'] == user['name']['first_name'] and (
        p['dob'] == user['dob'])
    if p not in old.get('passengers', ()) and not itself:
      yield p['last_name']
      if p['dob'] not in json.dumps(old.get('passengers', ())):
        yield f'{p["first_name"]} {p["last_name"]}, born {p["dob"]}'
  if 'total_baggages' in a:
    count = a['total_baggages'] - old.get('total_baggages', 0)
    yield f'{count or "no"} checked bag'
  if 'cabin' in a and a['cabin'] != old.get('cabin'):
    yield a['cabin'].replace('_', ' ')
  if 'insurance' in a:
    yield f'want {"no " * (a["insurance"] == "no")}travel insurance'


def test_other_domains_and_too_many_tasks_are_refused(env, monkeypatch):
  telecom = tau2_domain.load('tau2:telecom', {'prompt': 'brief'})
  with pytest.raises(ValueError, match='airline and retail'):
    next(tau2_tasks.generate(telecom, seed=0, count=1))
  monkeypatch.setattr(tau2_tasks.seeds, 'seed_of', lambda *parts: 7)
  with pytest.raises(ValueError, match='Only 1 of 2 tasks'):
    found = []
    for sample in tau2_tasks.generate(env, seed=0, count=2):
      found.append(sample)
  assert {s.rejection.worker for s in found[1:]} == {'Duplicates'}
