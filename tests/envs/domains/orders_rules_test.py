"""The rules of `orders`: its tools, and what a good agent does when."""

import collections
import random
import re

import pytest

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools as tools_lib
from agentrl.envs.domains.orders import scripts
from agentrl.envs.domains.orders import state as database
from agentrl.envs.domains.orders import tasks
from agentrl.envs.domains.orders import tools

TABLE = tools_lib.by_name(tools.AGENT)
ORDER = dict(customer='Mira Tobin', item='lamp', color='blue', city='Oslo',
             status='pending', day=database.TODAY - 1)
CUSTOMER = dict(tier='basic', credit=50, orders=['tealHeron'])
PAYMENT = dict(amount=40, method='card', charges=1, flagged=False)


def world(order=(), payment=(), customer=(), stock=('blue', 'green', 'pink')
          ) -> state_lib.State:
  """One customer with one lamp, and a stranger's mug; `age` is in days."""
  order = {**ORDER, **dict(order)}
  if 'age' in order:
    order['day'] = database.TODAY - order.pop('age')
  mug = {**ORDER, 'customer': 'Leo Berg', 'item': 'mug'}
  return state_lib.State({
      'customers': {
          'Mira Tobin': CUSTOMER | dict(customer),
          'Leo Berg': dict(tier='gold', credit=0, orders=['paleOwl'])},
      'orders': {'tealHeron': order, 'paleOwl': mug},
      'payments': {'tealHeron': PAYMENT | dict(payment),
                   'paleOwl': PAYMENT | dict(amount=15)},
      'products': {'lamp': dict(price=40, stock=list(stock)),
                   'mug': dict(price=15, stock=['blue'])},
      'desk': {}})


def call(state, name, /, **arguments) -> types.Message:
  return tools_lib.call(TABLE, state, types.ToolCall(name, arguments))


def drafts(family, *faults, **more) -> list[domain.Demand]:
  """Of many seeds, about the caller's own order."""
  state = world(*faults, **more)
  drafted = [getattr(tasks, family)(state, 'Mira Tobin', random.Random(seed))
             for seed in range(60)]
  return [d for d in drafted if d and 'account' not in d.tell]


def writes(demand) -> list[tuple]:
  """(name, arguments but the order) of each call that is no look-up."""
  return [(b.call, {k: v for k, v in b.arguments.items() if k != 'order'})
          for b in demand.beats
          if b.call and not re.match('find|list|get', b.call)]


class TestTools:

  @pytest.mark.parametrize('order, name, arguments, word', [
      (dict(), 'get_order', dict(order='paleHeron'), 'no order paleHeron'),
      (dict(), 'find_customer', dict(name='Mira'), 'no customer Mira'),
      (dict(), 'find_order', dict(name='Mira', what='red rug'),
       'no customer Mira'),
      (dict(), 'get_payment', dict(order='x'), 'no order x'),
      (dict(), 'get_product', dict(item='car'), 'no product car'),
      (dict(status='shipped'), 'cancel_order', {}, 'is shipped'),
      (dict(), 'return_order', dict(refund='card'), 'is pending'),
      (dict(status='delivered'), 'return_order', dict(refund='cash'), 'refund'),
      (dict(), 'exchange_order', dict(color='pink'), 'is pending'),
      (dict(status='delivered'), 'exchange_order', dict(color='black'),
       'no black lamp in stock'),
      (dict(status='shipped'), 'change_city', dict(city='Lyon'), 'is shipped'),
      (dict(), 'change_city', dict(city='Oslo'), 'already'),
      (dict(), 'change_city', dict(city='Rome'), 'no delivery to Rome'),
      (dict(), 'change_payment', dict(method='card'), 'already'),
      (dict(status='shipped'), 'change_payment', dict(method='credit'),
       'is shipped'),
      (dict(), 'refund_charge', {}, 'charged once'),
      (dict(), 'give_credit', dict(amount=10), 'is pending'),
      (dict(status='shipped'), 'give_credit', dict(amount=15), 'amount'),
      (dict(), 'reship_order', {}, 'is pending'),
      (dict(), 'transfer_to_human', dict(reason='rude'), 'reason'),
  ])
  def test_refusals_change_nothing(self, order, name, arguments, word):
    state = world(order)
    known = TABLE[name].arguments.model_fields
    more = {'order': 'tealHeron'} if 'order' in known else {}
    result = call(state, name, **{**more, **arguments})
    assert result.error and word in result.content
    assert state.changes() == {}

  @pytest.mark.parametrize('order, name, arguments, changes', [
      (dict(), 'cancel_order', {},
       {'orders.tealHeron.status': 'cancelled',
        'payments.tealHeron.refund': 'card'}),
      (dict(status='delivered'), 'return_order', dict(refund='credit'),
       {'customers.Mira Tobin.credit': 90,
        'orders.tealHeron.status': 'returning',
        'payments.tealHeron.refund': 'credit'}),
      (dict(), 'change_payment', dict(method='credit'),
       {'customers.Mira Tobin.credit': 10,
        'payments.tealHeron.method': 'credit'}),
      (dict(status='shipped'), 'give_credit', dict(amount=20),
       {'customers.Mira Tobin.credit': 70, 'orders.tealHeron.excuse': 20}),
      (dict(status='shipped'), 'reship_order', {},
       {'orders.tealHeron.reshipped': True}),
      (dict(status='delivered'), 'exchange_order', dict(color='pink'),
       {'orders.tealHeron.color': 'pink',
        'orders.tealHeron.status': 'exchanging'}),
  ])
  def test_writes_are_seen_and_not_made_twice(self, order, name, arguments,
                                              changes):
    state = world(order)
    assert not call(state, name, order='tealHeron', **arguments).error
    assert state.changes() == changes
    assert call(state, name, order='tealHeron', **arguments).error
    assert state.changes() == changes

  def test_credit_must_cover_the_price(self):
    for credit, error in ((39, True), (40, False)):
      state = world(customer=dict(credit=credit))
      result = call(state, 'change_payment', order='tealHeron', method='credit')
      assert result.error == error

  def test_a_charge_goes_back_to_where_it_came_from(self):
    for method, credit in (('card', {}),
                           ('credit', {'customers.Mira Tobin.credit': 90})):
      state = world(payment=dict(method=method, charges=2))
      assert not call(state, 'refund_charge', order='tealHeron').error
      assert state.changes() == credit | {'payments.tealHeron.charges': 1}

  def test_a_customer_is_handed_over_once(self):
    state = world()
    assert not call(state, 'transfer_to_human', reason='fraud').error
    assert call(state, 'transfer_to_human', reason='damaged').error
    assert state.changes() == {'desk.transfer.reason': 'fraud'}


class TestFamilies:
  """The state decides what a good agent does, whatever the caller says."""

  @pytest.mark.parametrize('family, order, payment, customer, wrote, tell', [
      ('cancel', dict(), (), (), [('cancel_order', {})], '40 eur'),
      ('cancel', dict(status='shipped'), (), (), [], 'shipped'),
      ('cancel', dict(status='delivered'), (), (), [], 'delivered'),
      ('undo', dict(), (), (), [('cancel_order', {})], '40 eur'),
      ('undo', dict(status='shipped'), (), (), [], 'shipped'),
      ('undo', dict(status='delivered', age=15), (), (), [], 'too late'),
      ('give_back', dict(status='delivered', age=15), (), (), [], 'too late'),
      ('give_back', dict(status='delivered', age=31), (), dict(tier='gold'),
       [], 'too late'),
      ('exchange', dict(status='delivered', age=15), (), (), [], 'too late'),
      ('move', dict(status='shipped'), (), (), [], 'shipped'),
      ('repay', dict(), (), (), [('change_payment', dict(method='credit'))],
       'credit'),
      ('repay', dict(), (), dict(credit=35), [], 'enough credit'),
      ('charged', dict(), (), (), [], 'once'),
      ('charged', dict(), dict(charges=2), (), [('refund_charge', {})],
       '40 eur'),
      *(('charged', dict(), dict(charges=n, flagged=True), (),
         [('transfer_to_human', dict(reason='fraud'))], 'colleague')
        for n in (1, 2)),
      ('parcel', dict(status='shipped', age=7), (), (), [], 'on time'),
      *(('parcel', dict(status='shipped', age=age), (), dict(tier=tier),
         [('give_credit', dict(amount=amount))], f'{amount} eur')
        for age in (8, 14) for tier, amount in (('basic', 10), ('gold', 20))),
      ('parcel', dict(status='shipped', age=15), (), dict(tier='gold'),
       [('reship_order', {})], 'sent again'),
      ('damaged', dict(status='delivered', age=31), (), (),
       [('return_order', dict(refund='credit'))], '40 eur'),
      ('damaged', dict(status='delivered'), dict(amount=60), (),
       [('transfer_to_human', dict(reason='damaged'))], 'colleague'),
  ])
  def test_branches(self, family, order, payment, customer, wrote, tell):
    drafted = [d for d in drafts(family, order, payment, customer)
               if 'keep it' not in d.goal]
    assert drafted
    for demand in drafted:
      assert writes(demand) == wrote and tell in demand.tell

  @pytest.mark.parametrize('age, tier', [(14, 'basic'), (30, 'gold')])
  @pytest.mark.parametrize('family', ['give_back', 'undo', 'exchange'])
  def test_in_time(self, family, age, tier):
    drafted = drafts(family, dict(status='delivered', age=age),
                     customer=dict(tier=tier))
    name = 'exchange_order' if family == 'exchange' else 'return_order'
    assert drafted
    assert all([n for n, _ in writes(d)] == [name] for d in drafted)

  @pytest.mark.parametrize('family, order, kinds', [
      ('give_back', dict(status='delivered'), {'do'}),
      ('move', dict(), {'do'}),
      ('exchange', dict(status='delivered'), {'do', 'fallback'}),
  ])
  def test_what_the_user_says_last_is_done(self, family, order, kinds):
    drafted = drafts(family, order)
    again = [d for d in drafted if 'when asked to confirm' in d.goal]
    assert again and {d.kind for d in drafted} == kinds
    for demand in drafted:
      (_, arguments), = writes(demand)
      (last,) = arguments.values()
      assert demand.goal.endswith(f'{last}.')
      assert last in (*demand.about, *demand.answers)
      assert demand.beats.count(scripts.YES) == 1

  def test_some_keep_what_they_wanted_to_cancel(self):
    drafted = [d for d in drafts('cancel', dict()) if 'keep it' in d.goal]
    assert drafted and all(
        not writes(d) and d.tell == ('stays',) for d in drafted)

  def test_the_second_color_is_taken_when_the_first_is_gone(self):
    drafted = [d for d in drafts('exchange', dict(status='delivered'),
                                 stock=('blue', 'pink'))
               if d.kind == 'fallback']
    assert drafted
    for demand in drafted:
      assert writes(demand) == [('exchange_order', dict(color='pink'))]
      assert re.fullmatch('no (green|black|white|yellow) lamp', demand.tell[0])

  def test_orders_of_others_are_left_alone(self):
    for family in scripts.STRANGE:
      state = world()
      drafted = [getattr(tasks, family)(state, 'Mira Tobin', random.Random(i))
                 for i in range(400)]
      strange = [d for d in drafted if d and 'account' in d.tell]
      if family != 'give_back':  # the stranger's order is pending
        assert strange
      assert all(d.kind == 'refuse' and not writes(d) for d in strange)

  def test_an_order_is_dealt_with_once(self):
    state = world()
    assert not call(state, 'change_city', order='tealHeron', city='Lyon').error
    state.edit('orders', 'paleOwl')['city'] = 'Lyon'
    for family in tasks.FAMILIES:
      for seed in range(20):
        assert family(state, 'Mira Tobin', random.Random(seed)) is None

  def test_the_way_of_asking_does_not_tell_the_branch(self):
    asks = collections.defaultdict(set)
    for status in ('pending', 'shipped', 'delivered'):
      for demand in drafts('cancel', dict(status=status)):
        asks[status] |= set(demand.beats[0].say)
    assert len(asks) == 3
    assert asks['pending'] == asks['shipped'] == asks['delivered']
