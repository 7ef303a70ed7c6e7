"""Plays the user of a retail task of tau2-bench.

The user sees the scenario, the gold actions and the database; the agent
(`agent.py`) sees only the user's words and its look-ups.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import phrases
from agentrl.eigendata.tau2.retail import records
from agentrl.eigendata.tau2.retail import words
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2_env

CANCEL, RETURN = 'cancel_pending_order', 'return_delivered_order_items'
EXCHANGE = 'exchange_delivered_order_items'
MODIFY = 'modify_pending_order_items'
MOVE, MOVE_USER = 'modify_pending_order_address', 'modify_user_address'
REPAY = 'modify_pending_order_payment'
VERBS = {CANCEL: 'cancel {}', RETURN: 'return {}', EXCHANGE: 'exchange {}',
         MODIFY: 'change {}', MOVE: 'change the address of {}',
         MOVE_USER: 'change my default address',
         REPAY: 'change the payment method of {}'}
Record = records.Record


@dataclasses.dataclass(frozen=True, slots=True)
class RetailRequest:
  """Describes one request of the user.

  Attributes:
    name: tool of the call that grants it.
    args: arguments of that call.
    first: payment method that the user asks for first, against the rules.
    hopeless: whether the user insists on that payment method.
  """

  name: str
  args: Record
  first: str = ''
  hopeless: bool = False

  @property
  def order(self) -> str:
    return self.args.get('order_id', '')

  @property
  def payment(self) -> str:
    return self.args['payment_method_id']

  def goes_on(self, before: RetailRequest) -> bool:
    """Returns whether it repeats a refused request in another way."""
    keys = ('order_id', 'item_ids')
    return before.hopeless and before.name == self.name and all(
        before.args.get(k) == self.args.get(k) for k in keys)


@dataclasses.dataclass(frozen=True, slots=True)
class Amount:
  """Holds prices of an order that sum to a refund (`back`) or a payment."""

  order: str
  back: bool
  terms: Sequence[float]
  payment: str


class RetailUser:
  """Plays the user of a task.

  Attributes:
    text: the scenario.
    me, book: records of the user and, by order id, of the orders at the start.
    requests: requests in the order of the gold actions.

  Raises:
    replay.Unplayable: the scenario does not identify the user.
  """

  def __init__(self, env: tau2_env.Tau2, task: types.Task):
    self._actions = task.criteria.actions
    self._trial = env.start(task)
    db = self._trial.environment.tools.db
    self.text = task.scenario
    self.me = self._find(db.users.values())
    self.book = {key: db.orders[key].model_dump(mode='json')
                 for key in self.me['orders']}
    self._products = db.products
    self._asked: set[str] = set()
    self.requests = self._requests()

  def _find(self, users: Iterable[Any]) -> dict[str, Any]:
    text = self.text.lower()
    best = max(users, key=lambda u: (
        u.user_id in text, u.email.lower() in text,
        words.has(text, u.address.zip) * (
            words.has(text, u.name.first_name)
            + words.has(text, u.name.last_name))))
    me = best.model_dump(mode='json')
    if not any(v.lower() in text for v in (
        me['user_id'], me['email'], me['address']['zip'])):
      raise replay.Unplayable('The scenario does not tell who the user is.')
    return me

  def _requests(self) -> list[RetailRequest]:
    """Returns a request for each gold write, with its refused attempts."""
    requests = []
    for a in self._actions:
      if a.name not in VERBS:
        continue
      request = RetailRequest(a.name, a.arguments, self._first_payment(a))
      result = self._trial.execute([types.ToolCall(a.name, a.arguments)])[0]
      if result.error:
        if not re.search('[Pp]ayment method|balance', result.content):
          continue
        request = dataclasses.replace(
            request, first=request.payment, hopeless=True)
      if requests and request.goes_on(requests[-1]):
        request = dataclasses.replace(request, first=requests.pop().first)
      requests.append(request)
    return requests

  def _first_payment(self, action: types.Action) -> str:
    """Returns the payment method for a refund against the rules, or ''."""
    args = action.arguments
    if action.name != RETURN or 'gift' not in args['payment_method_id']:
      return ''
    paid = self.book[args['order_id']]['payment_history'][0]
    return next((key for key, m in self.me['payment_methods'].items()
                 if key != paid['payment_method_id']
                 and m['source'] != 'gift_card'
                 and words.has(self.text, m['source'].replace('_', ' '))), '')

  def payment(self, key: str) -> str:
    methods = self.me['payment_methods']
    return words.payment(methods[key], methods.values())

  def identities(self) -> list[dict[str, str]]:
    """Returns the user's details to be found by: the gold ones, then right."""
    me = self.me
    right = ({'email': me['email']},
             {**me['name'], 'zip': me['address']['zip']})
    tries = []
    for a in self._actions:
      if a.name.startswith('find_user_id_by_'):
        keys = right['email' not in a.arguments]
        tries.append({k: a.arguments[k] for k in keys})
        if tries[-1] in right:
          return tries
    return [*tries, right[me['email'].lower() not in self.text.lower()]]

  def said(self, request: RetailRequest) -> tuple[str, list[Record]]:
    """Returns the (order id, items) that the user names; '' and [] if none."""
    key = request.order
    if not key:
      return '', []
    items, wanted = self.book[key]['items'], request.args.get('item_ids')
    if wanted is not None:
      items = [next(i for i in items if i['item_id'] == w) for w in wanted]
    known = [i for i in items if words.mentions(self.text, i['name'])]
    if wanted is None:
      known = known[:2]
    elif len(known) < len(items):
      known = []
    return key * (key[1:] in self.text), known

  def partly(self, request: RetailRequest) -> bool:
    """Returns whether the user would cancel single items, which is refused."""
    named = self.said(request)[1]
    return (request.name == CANCEL and bool(named)
            and len(named) < len(self.book[request.order]['items'])
            and bool(re.search(words.PARTLY, self.text)))

  def opening(self, request: RetailRequest, rng: random.Random) -> str:
    """Returns the user's first words for a request."""
    key, items = self.said(request)
    pending = 'pending ' * (request.name not in (RETURN, EXCHANGE))
    order = f'order {key}' if key else f'my {pending}order'
    the = words.names(items) if items else 'some items'
    if 'item_ids' in request.args:
      known = key or pending
      goods = f'{the} in {order}' if known else f'{the} that I received'
    elif self.partly(request):
      goods = f'only {the} in {order}'
    else:
      goods = order if key or not items else f'{order} with {the}'
    return rng.choice(words.WANT).format(VERBS[request.name].format(goods))

  def describe(self, old: Record, key: str) -> tuple[str, dict[str, str]]:
    """Describes the version `key` that shall replace an item.

    Returns:
      the user's words; and open option -> value, '' where it is not known.
    """
    name = old['name']
    stock = self._products[old['product_id']].model_dump()['variants']
    prices = [v['price'] for v in stock.values() if v['available']]
    changes = records.changed_options(old, stock[key])
    if key == old['item_id']:
      return f'the same {name} again', {}
    if key in self.text:
      return f'item {key} in place of the {name}', {}
    for sign, best in (('cheapest', min), ('most expensive', max)):
      if sign in self.text and stock[key]['price'] == best(prices):
        return f'the {sign} {name}', {}
    vague = {k: v * words.has(self.text, v) for k, v in changes.items()}
    known = {k: v for k, v in vague.items() if v}
    if known == changes:
      return f'the {name} with {words.options(changes)}', {}
    more = f', with {words.options(known)}' if known else ''
    other = phrases.listed(k for k in changes if k not in known)
    return f'a {name} that differs in {other}{more}', vague

  def place(self, new: Record, changed: bool) -> str:
    """Puts an address into words; `changed`: it is not the user's default."""
    if words.has(self.text, new['address1']):
      return words.address(new)
    if new == self.me['address']:
      return f'my {"original" if changed else "default"} address'
    calls = self.calls()
    return next((f'the address of {calls[key]}' for key, o in self.book.items()
                 if o['address'] == new), words.address(new))

  def calls(self) -> dict[str, str]:
    """Returns order id -> the user's name of the order."""
    counts = collections.Counter(
        n for o in self.book.values() for n in {i['name'] for i in o['items']})
    states = collections.Counter(o['status'] for o in self.book.values())
    calls = {}
    for key, order in self.book.items():
      state = order['status']
      own = sorted((i['name'] for i in order['items']
                    if counts[i['name']] == 1),
                   key=lambda name: not words.mentions(self.text, name))
      calls[key] = f'my order with the {own[0]}' if own else f'order {key}'
      if states[state] == 1 and f'{state} order' in self.text:
        calls[key] = f'my {state} order'
      if key[1:] in self.text:
        calls[key] = f'order {key}'
    return calls

  def question(self, left: Sequence[str], sums: Sequence[Amount],
               early: bool = False) -> Fact | None:
    """Returns the question whose answer tells most of `left`; None if no
    answer does. Early, only questions that the scenario speaks of."""
    if not left:
      return None
    products = [p.model_dump() for p in self._products.values()
                if words.mentions(self.text, p.name)]
    known = facts(self.text, list(self.book.values()), self.calls(), products)
    open_ = [f for f in (*self._totals(sums), *known)
             if f.ask not in self._asked and (f.likely or not early)]
    best = max(open_, key=lambda f: (sum(map(f.tells, left)), f.likely))
    self._asked.add(best.ask)
    return best if any(map(best.tells, left)) else None

  def _totals(self, sums: Sequence[Amount]) -> Iterator[Fact]:
    """Yields the facts about amounts of the requests carried out."""
    back = [t for s in sums if s.back for t in s.terms]
    more = [t for s in sums if not s.back for t in s.terms]
    both = [*back, *(-t for t in more)]
    for ask, terms in (('how much I get back in total', back),
                       ('the price difference in total', more),
                       ('how much I get back after all', both)):
      yield total(ask, 'In total it is ${}.', terms, look=False)
    for s in sums:
      paid = self.book[s.order]['payment_history'][0]['amount']
      yield total(
          f'the total of order {s.order} after that', 'It is ${} now.',
          [paid, *(-t if s.back else t for t in s.terms)], look=False)
      balance = self.me['payment_methods'][s.payment].get('balance')
      if balance is not None and not s.back:
        yield total('the balance of my gift card after that', 'It is ${}.',
                    [balance, *(-t for t in s.terms)], look=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
  """Describes one question of the user and its answer.

  Attributes:
    ask: the question, as goes on after 'tell me'.
    answer: the agent's words; {} is the sum of the terms, if there are any.
    values: values in the answer.
    terms: amounts that sum to the answer.
    product: name of the product to look up, '' if none; `|` between several.
    look: whether orders must be looked up.
    likely: whether the scenario speaks of it.
  """

  ask: str
  answer: str
  values: tuple[str, ...] = ()
  terms: tuple[float, ...] = ()
  product: str = ''
  look: bool = True
  likely: bool = True

  def tells(self, info: str) -> bool:
    values = [v.lower() for v in self.values]
    if self.terms:
      values.append(words.money(sum(self.terms)))
    try:
      return words.money(info) in values or info in values
    except ValueError:  # no number
      return info.lower() in values or info.isalpha() and len(
          info) > 3 and any(words.has(v, info) for v in values)


def total(ask: str, answer: str, terms: Iterable[float], **more: Any) -> Fact:
  return Fact(ask, answer, (), tuple(map(float, terms)), **more)


def facts(text: str, orders: Sequence[Record], call: Mapping[str, str],
          products: Sequence[Record]) -> Iterator[Fact]:
  """Yields the questions about a user's orders and about products.

  Args:
    text: the scenario.
    orders: records of the user's orders.
    call: order id -> the user's name of the order.
    products: records of the products that the scenario mentions.
  """
  for order in orders:
    yield from _of_order(text, order, call[order['order_id']])
  items = [i for o in orders for i in o['items']]
  for name in sorted({i['name'] for i in items}):
    yield total(f'the total price of all my {name} items',
               f'Your {name} items cost ${{}} in total.',
               [i['price'] for i in items if i['name'] == name],
               likely=words.mentions(text, name))
  for product in products:
    yield from _of_product(product)
  low = {p['product_id']: min(v['price'] for v in p['variants'].values()
                              if v['available']) for p in products}
  for k in (1, 2, 3):
    for group in itertools.combinations(
        [i for i in items if i['product_id'] in low], k):
      names = [i['name'] for i in group]
      yield total(
          f'how much I would save with the cheapest {phrases.listed(names)}',
          'You would save ${}.', [t for i in group for t in (
              i['price'], -low[i['product_id']])], product='|'.join(names))


def _of_order(text: str, order: Record, call: str) -> Iterator[Fact]:
  items = order['items']
  paid = order['payment_history'][0]['amount']
  for sent in order['fulfillments']:
    yield Fact(f'the tracking number of {call}',
               f'The tracking number is {", ".join(sent["tracking_id"])}.',
               tuple(sent['tracking_id']), likely='tracking' in text)
  yield total(f'the total price of {call}', 'The total of it is ${}.', [paid])
  to = order['address']
  yield Fact(f'the address of {call}', f'It goes to {words.address(to)}.',
             tuple(to.values()), likely='address' in text)
  top = max(items, key=lambda i: i['price'])
  yield Fact(f'the most expensive item in {call}',
             f'It is the {top["name"]}, at ${words.money(top["price"])}.',
             (top['name'], words.money(top['price'])),
             likely='most expensive' in text)
  for name in sorted({i['name'] for i in items}):
    same = [i for i in items if i['name'] == name]
    where = f'the {name} in {call}'
    if call.endswith(f' {name}'):
      where = f'my {name}'
    values = tuple(v for i in same for v in (
        *i['options'].values(), words.money(i['price'])))
    yield Fact(f'the details of {where}', f'It is {words.full(same)}.', values,
               likely=words.mentions(text, name))
  for group in itertools.chain.from_iterable(
      itertools.combinations(items, k) for k in range(2, len(items))):
    yield total(f'how much {words.names(group)} in {call} cost in total',
                'Together they cost ${}.', [i['price'] for i in group],
                likely=False)


def _of_product(product: Record) -> Iterator[Fact]:
  name = product['name']
  stock = sorted((v for v in product['variants'].values() if v['available']),
                 key=lambda v: v['price'])
  yield Fact(f'how many {name} options are available', f'There are {len(stock)}'
             f' available {name} options.', (str(len(stock)),), product=name,
             look=False)
  for k, v in enumerate(stock):
    chosen, price = words.options(v['options']), words.money(v['price'])
    values = [price] if k else [price, *v['options'].values()]
    ask = (f'the price of the {name} with {chosen}' if k else
           f'the cheapest available {name}')
    yield Fact(ask, f'The {name} with {chosen} costs ${price}.',
               tuple(values), product=name, look=False)
