"""How a good agent and a customer talk through a retail task of tau2-bench.

Written without an LLM: `solve` speaks for both sides, in words drawn at
random, while the calls run in the benchmark's environment. What the user
wants stands in the scenario and the gold actions (`tau2_retail_user.py`); the
agent puts into a call only what it was told or has looked up, and keeps to
the benchmark's policy, so that what it does can be learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
import json
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import dialogue as tau2_talk
from agentrl.eigendata.tau2.retail import user as user_lib
from agentrl.eigendata.tau2.retail import words
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2

STREET = ('address1', 'address2', 'city', 'state', 'country', 'zip')
ARGUMENTS = ('order_id', 'user_id', 'item_ids', 'new_item_ids', 'reason',
             'payment_method_id', *STREET)

Record = dict[str, Any]  # of an order, an item, a product or a user
Topic = tuple[str, Callable[[], None]]


class Talk(tau2_talk.Talk):
  """A retail dialogue under way.

  Attributes:
    mine: the user's side.
    user, orders, products: what the agent has looked up.
    sums: the amounts of what was done.
    lead: opens what the agent says next.
  """

  def __init__(self, env: tau2.Tau2, task: types.Task, rng: random.Random):
    super().__init__(env, task, rng)
    self.mine = user_lib.User(env, task)
    self.user: Record = {}
    self.orders: dict[str, Record] = {}
    self.products: dict[str, Record] = {}
    self.sums: list[user_lib.Sum] = []
    self.lead = self._told = ''

  def agent(self, variants: Sequence[str], *gaps: Any,
            after: Sequence[str] = ('',)) -> None:
    """The agent says one of the variants and one of `after`."""
    text = (self.lead + self.rng.choice(variants).format(*gaps)
            + self.rng.choice(after))
    self.lead = ''
    self._told += text.lower().replace(',', '') + '\n'
    self.say('assistant', ('{}',), text)

  def customer(self, variants: Sequence[str], *gaps: Any) -> None:
    text = self.rng.choice(variants).format(*gaps)
    self.say('user', ('{}',), text[:1].upper() + text[1:])

  def close(self, variants: Sequence[str], *gaps: Any) -> None:
    """The agent reports, and asks what else there is."""
    self.agent(variants, *gaps, after=words.MORE)

  def untold(self) -> list[str]:
    """What the agent still has to tell."""
    return [info for info in self.task.criteria.communicate_info
            if info.lower() not in self._told]

  def read(self, tool: str, **arguments: Any) -> Any:
    return json.loads(self.call('assistant', tool, **arguments))

  def order(self, key: str) -> Record:
    if key not in self.orders:
      self.orders[key] = self.read('get_order_details', order_id=key)
    return self.orders[key]

  def look(self, call: str = '') -> list[Record]:
    """The order whose id the user has said, or else all of the user's."""
    if found := re.search(r'W\d+', call):
      return [self.order(f'#{found[0]}')]
    return [self.order(key) for key in self.user['orders']]

  def product(self, key: str) -> Record:
    if key not in self.products:
      self.products[key] = self.read('get_product_details', product_id=key)
    return self.products[key]

  def add(self, terms: Sequence[float]) -> float:
    """Their sum, for which the agent uses its calculator."""
    if len(terms) < 2:
      return sum(terms)
    text = ' '.join(f'{"-" if t < 0 else "+"} {abs(t):.2f}' for t in terms)
    return self.read('calculate', expression=text.removeprefix('+ '))


def solve(talk: Talk) -> dialogue.End:
  """Plays the whole dialogue, both sides.

  Raises:
    replay.Unplayable: a call was refused, or nothing tells what must be told.
  """
  for k, (text, play) in enumerate(_topics(talk)):
    if k:
      talk.customer(words.NEXT, text)
    else:
      _identify(talk, talk.rng.choice(words.HELLO) + text)
    play()
  if not talk.end:
    talk.customer(words.BYE)
  return talk.end


def _topics(talk: Talk) -> Iterator[Topic]:
  """What the user says and what comes of it, one after the other."""
  mine = talk.mine

  def ask(fact: user_lib.Fact) -> Topic:
    return (talk.rng.choice(words.TELL).format(fact.ask),
            functools.partial(_answer, talk, fact))

  if talk.rng.random() < 0.5:  # or else wait for what is told anyway
    while fact := mine.question(talk.untold(), (), early=True):
      yield ask(fact)
  for demand in mine.demands:
    yield mine.opening(demand, talk.rng), functools.partial(_do, talk, demand)
  while fact := mine.question(talk.untold(), talk.sums):
    yield ask(fact)
  if left := talk.untold():
    raise replay.Unplayable(f'Nothing tells {left}.')
  transfer = talk.task.kind == 'transfer'
  if transfer or not (mine.demands or talk.task.criteria.communicate_info):
    text = words.request(mine.text)
    yield text, functools.partial(_deny, talk, text, transfer)


def _identify(talk: Talk, opening: str) -> None:
  """The user says what is the matter, and who is calling."""
  tries = talk.mine.identities()
  said = [words.MY_EMAIL if 'email' in args else words.MY_NAME
          for args in tries]
  if talk.rng.random() < 0.3:
    told = talk.rng.choice(said[0][:1]).format(*tries[0].values())
    talk.customer(('{} {}',), opening, told)
  else:
    talk.customer(('{}',), opening)
    talk.agent(words.WHO)
    talk.customer(said[0], *tries[0].values())
  for k, args in enumerate(tries):
    if k:
      talk.agent(words.NO_ACCOUNT)
      sorry = talk.rng.choice(words.CORRECTED)
      talk.customer((sorry + said[k][0],), *args.values())
    by = 'email' if 'email' in args else 'name_zip'
    found = talk.attempt('assistant', f'find_user_id_by_{by}', **args)
  if found.error:
    raise replay.Unplayable(f'There is no user {tries[-1]}.')
  talk.user = talk.read('get_user_details', user_id=found.content)
  talk.lead = talk.rng.choice(words.THANKS).format(
      talk.user['name']['first_name'])


def _do(talk: Talk, demand: user_lib.Demand) -> None:
  """From the demand to the agent's report."""
  if demand.name == user_lib.MOVE_USER:
    _move(talk, demand)
    return
  order = _find(talk, demand)
  play = {user_lib.CANCEL: _cancel, user_lib.RETURN: _return,
          user_lib.MOVE: _move, user_lib.REPAY: _repay}
  play.get(demand.name, _change)(talk, demand, order)


def _find(talk: Talk, demand: user_lib.Demand) -> Record:
  """The order in question: by its id, or by what is in it."""
  key, items = talk.mine.said(demand)
  if key:
    return talk.order(key)
  names = {i['name'] for i in items}
  got = demand.name in (user_lib.RETURN, user_lib.EXCHANGE)
  status = 'delivered' if got else 'pending'
  fits = {o['order_id']: o for o in talk.look()
          if o['status'].startswith(status)
          and names <= {i['name'] for i in o['items']}}
  if demand.order not in fits:
    raise replay.Unplayable(f'Order {demand.order} is not {status}.')
  if len(fits) > 1:
    named = {key: [i for i in o['items'] if i['name'] in names]
             for key, o in fits.items()}
    talk.agent(words.WHICH_ORDER, words.listed((
        f'{key} ({words.full(named[key]) or words.names(o["items"], "")})'
        for key, o in fits.items()), 'or'))
    talk.customer(words.THAT_ORDER, demand.order)
  return fits[demand.order]


def _which(talk: Talk, demand: user_lib.Demand, order: Record) -> list[Record]:
  """The items in question; the user is asked where that is not clear."""
  key, has = order['order_id'], order['items']
  items = [next(i for i in has if i['item_id'] == wanted)
           for wanted in demand.args['item_ids']]
  alike = {i['name']: [j for j in has if j['name'] == i['name']]
           for i in items}
  vague = {name for name, same in alike.items()
           if len({i['item_id'] for i in same})
           > len({i['item_id'] for i in items if i['name'] == name})}

  def tell(item: Record) -> str:
    more = f' with {words.options(item["options"])}' * (item['name'] in vague)
    return f'the {item["name"]}{more}'

  if not talk.mine.said(demand)[1] and len(has) > 1:
    talk.agent(words.WHICH_ITEMS, key, words.names(has, ''))
    everything = len(items) == len(has) and talk.rng.random() < 0.5
    talk.customer(words.THESE, 'all of them' if everything else words.listed(
        map(tell, items)) if vague else words.names(items))
    return items
  for name in sorted(vague):
    talk.agent(words.WHICH_ONE, key, name, words.full(alike[name]))
    talk.customer(words.THESE, words.listed(
        tell(i) for i in items if i['name'] == name))
  return items


def _confirm(talk: Talk, demand: user_lib.Demand, proposal: Sequence[str],
             *gaps: Any) -> None:
  """The agent says what it is about to do, the user agrees, it is done."""
  talk.agent(proposal, *gaps, after=words.CONFIRM)
  talk.customer(words.YES)
  result = talk.read(demand.name, **{
      k: demand.args[k] for k in ARGUMENTS if k in demand.args})
  if demand.order:
    talk.orders[demand.order] = result
  else:
    talk.user = result


def _cancel(talk: Talk, demand: user_lib.Demand, order: Record) -> None:
  key, names = demand.order, words.names(order['items'], '')
  if talk.mine.partly(demand):
    talk.agent(words.WHOLE, key, names)
    talk.customer(words.WHOLE_YES)
  talk.agent(words.REASON)
  talk.customer(words.MY_REASON[demand.args['reason']])
  paid = order['payment_history'][0]
  to, amount = paid['payment_method_id'], float(paid['amount'])
  when = 'at once' if 'gift_card' in to else 'within 5 to 7 business days'
  _confirm(talk, demand, words.CANCEL, key, names, words.money(amount),
           talk.mine.payment(to), when)
  talk.sums.append(user_lib.Sum(key, True, [amount], to))
  talk.close(words.CANCELLED, key)


def _return(talk: Talk, demand: user_lib.Demand, order: Record) -> None:
  key, items = demand.order, _which(talk, demand, order)
  if not _pay(talk, demand, order):
    return
  prices = [float(i['price']) for i in items]
  amount = words.money(talk.add(prices))
  _confirm(talk, demand, words.RETURN, key, words.full(items), amount,
           talk.mine.payment(demand.payment))
  talk.sums.append(user_lib.Sum(key, True, prices, demand.payment))
  talk.close(words.RETURNED, key)


def _change(talk: Talk, demand: user_lib.Demand, order: Record) -> None:
  """An exchange, or a change of a pending order's items."""
  key, olds = demand.order, _which(talk, demand, order)
  news = _versions(talk, olds, demand.args['new_item_ids'])
  terms = [t for old, new in zip(olds, news)
           for t in (float(new['price']), -float(old['price']))]
  amount = talk.add(terms)
  if not _pay(talk, demand, order, amount):
    return
  how = talk.mine.payment(demand.payment)
  cost = (f'You pay ${words.money(amount)} with {how}.' if amount > 0 else
          f'${words.money(amount)} go back to {how}.' if amount < 0 else
          f'There is no price difference; {how} is noted.')
  _confirm(talk, demand, words.CHANGE[demand.name], key, '; '.join(
      f'{old["name"]} to item {new["item_id"]} '
      f'({words.options(words.changes(new, old)) or "the same"}, '
      f'${words.money(new["price"])})' for old, new in zip(olds, news)), cost)
  talk.sums.append(user_lib.Sum(key, False, terms, demand.payment))
  talk.close(words.CHANGED[demand.name], key)


def _versions(talk: Talk, olds: Sequence[Record],
              ids: Sequence[str]) -> list[Record]:
  """What the user gets in place of the items."""
  talk.agent(words.INSTEAD, words.names(olds))
  wishes = [talk.mine.wish(old, key) for old, key in zip(olds, ids)]
  talk.customer(words.WISH, words.listed(text for text, _ in wishes))
  news = []
  for old, (_, vague), key in zip(olds, wishes, ids):
    stock = talk.product(old['product_id'])['variants']
    if vague:
      talk.agent(words.VERSIONS, old['name'], words.offer(stock, old, vague))
      talk.customer(words.PICK, words.options(
          words.changes(stock[key], old)))
    news.append(stock[key])
  return news


def _pay(talk: Talk, demand: user_lib.Demand, order: Record,
         amount: float = 0) -> bool:
  """Settles the payment method; False if the user gives up over it."""
  methods, tell = talk.user['payment_methods'], talk.mine.payment
  back = demand.name == user_lib.RETURN
  paid = order['payment_history'][0]['payment_method_id']
  may = [key for key, m in methods.items()
         if not back or key == paid or m['source'] == 'gift_card']
  if len(may) == 1 and not demand.first:
    return True
  listed = words.listed(map(tell, may), 'or')
  talk.agent(words.REFUND if back else words.PAY, listed)
  talk.customer(words.BY, tell(demand.first or demand.payment))
  if not demand.first:
    return True
  if back:
    talk.agent(words.NO_REFUND_TO, listed)
  else:
    balance = methods[demand.first].get('balance', 0)
    talk.agent(words.TOO_LITTLE, words.money(balance), words.money(amount))
  if demand.hopeless:
    talk.customer(words.LEAVE)
    talk.close(words.LEFT)
    return False
  talk.customer(words.THEN_BY, tell(demand.payment))
  return True


def _repay(talk: Talk, demand: user_lib.Demand, order: Record) -> None:
  """Another payment method for a pending order."""
  key, tell = demand.order, talk.mine.payment
  paid = order['payment_history'][0]['payment_method_id']
  others = (k for k in talk.user['payment_methods'] if k != paid)
  talk.agent(words.OTHER_PAY, words.listed(map(tell, others), 'or'))
  talk.customer(words.BY, tell(demand.payment))
  _confirm(talk, demand, words.REPAY, key, tell(demand.payment), tell(paid))
  talk.close(words.REPAID, key)


def _move(talk: Talk, demand: user_lib.Demand,
          order: Record | None = None) -> None:
  """A new address, for an order or for the user."""
  talk.agent(words.NEW_ADDRESS)
  new = {k: demand.args[k] for k in STREET}
  call = talk.mine.place(new, changed=talk.user['address'] != new)
  talk.customer(words.ADDRESS, call)
  if call.startswith('the address of'):
    talk.look(call)
  if order:
    _confirm(talk, demand, words.MOVE, demand.order, words.address(new))
    talk.close(words.MOVED, demand.order)
  else:
    _confirm(talk, demand, words.MOVE_USER, words.address(new))
    talk.close(words.MOVED_USER)


def _answer(talk: Talk, fact: user_lib.Fact) -> None:
  """The agent looks up what the user asks for, and tells it."""
  if fact.look:
    talk.look(fact.ask)
  for name in filter(None, fact.product.split('|')):
    known = {i['name']: i['product_id']
             for o in talk.orders.values() for i in o['items']}
    if name not in known:
      known = talk.read('list_all_product_types')
    talk.product(known[name])
  text = fact.answer
  if fact.terms:
    text = text.format(words.money(talk.add(fact.terms)))
  talk.close(('{}',), text)


def _deny(talk: Talk, text: str, transfer: bool) -> None:
  """The agent looks into it, quotes the rule and does not do it."""
  talk.look(text)
  talk.agent(words.DENY, words.rule(text))
  if not transfer:
    talk.customer(words.ACCEPTED)
    talk.close(words.LEFT)
    return
  talk.customer(words.HUMAN)
  talk.call('assistant', 'transfer_to_human_agents',
            summary=f'The customer asks: {text}')
  talk.agent(words.HOLD)
  talk.customer(words.HANDED)
