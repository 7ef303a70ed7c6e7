"""Plays a good agent and a customer through a retail task of tau2-bench.

No LLM takes part: `solve` speaks for both sides, in words drawn at random,
while the calls run in the benchmark's environment. The user's requests come
from the scenario and the gold actions (`user.py`). The agent calls only with
values it was told or has looked up, and keeps to the benchmark's policy, so its
behaviour can be learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
import json
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import dialogue as tau2_dialogue
from agentrl.eigendata.tau2 import phrases
from agentrl.eigendata.tau2.retail import records
from agentrl.eigendata.tau2.retail import user
from agentrl.eigendata.tau2.retail import words
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2_env

STREET = ('address1', 'address2', 'city', 'state', 'country', 'zip')
ARGUMENTS = ('order_id', 'user_id', 'item_ids', 'new_item_ids', 'reason',
             'payment_method_id', *STREET)

Request = user.RetailRequest
Record = dict[str, Any]  # an order, an item, a product or a user
Topic = tuple[str, Callable[[], None]]  # (the user's words, plays the rest)


class RetailDialogue(tau2_dialogue.ScriptedDialogue):
  """Plays a retail dialogue under way.

  Attributes:
    user: the user's side.
    account, orders, products: records that the agent has looked up.
    amounts: amounts of the requests that were carried out.
    lead: words that open the agent's next message.
  """

  def __init__(self, env: tau2_env.Tau2, task: types.Task, rng: random.Random):
    super().__init__(env, task, rng)
    self.user = user.RetailUser(env, task)
    self.account: Record = {}
    self.orders: dict[str, Record] = {}
    self.products: dict[str, Record] = {}
    self.amounts: list[user.Amount] = []
    self.lead = self._told = ''

  def agent(self, variants: Sequence[str], *gaps: Any,
            after: Sequence[str] = ('',)) -> None:
    """Lets the agent say one of the variants and one of `after`."""
    text = (self.lead + self.rng.choice(variants).format(*gaps)
            + self.rng.choice(after))
    self.lead = ''
    self._told += text.lower().replace(',', '') + '\n'
    self.say('assistant', ('{}',), text)

  def customer(self, variants: Sequence[str], *gaps: Any) -> None:
    text = self.rng.choice(variants).format(*gaps)
    self.say('user', ('{}',), text[:1].upper() + text[1:])

  def close(self, variants: Sequence[str], *gaps: Any) -> None:
    """Lets the agent report and ask for the next request."""
    self.agent(variants, *gaps, after=words.MORE)

  def untold(self) -> list[str]:
    """Returns the facts that the agent still has to tell."""
    return [info for info in self.task.criteria.communicate_info
            if info.lower() not in self._told]

  def read(self, tool: str, **arguments: Any) -> Any:
    return json.loads(self.call('assistant', tool, **arguments))

  def order(self, key: str) -> Record:
    if key not in self.orders:
      self.orders[key] = self.read('get_order_details', order_id=key)
    return self.orders[key]

  def look(self, call: str = '') -> list[Record]:
    """Looks up the order with an id in the user's words, else all orders."""
    if key := re.search(r'W\d+', call):
      return [self.order(f'#{key[0]}')]
    return [self.order(key) for key in self.account['orders']]

  def product(self, key: str) -> Record:
    if key not in self.products:
      self.products[key] = self.read('get_product_details', product_id=key)
    return self.products[key]

  def add(self, terms: Sequence[float]) -> float:
    """Returns the sum; for more than one term the agent uses its calculator."""
    if len(terms) < 2:
      return sum(terms)
    text = ' '.join(f'{"-" if t < 0 else "+"} {abs(t):.2f}' for t in terms)
    return self.read('calculate', expression=text.removeprefix('+ '))


def solve(chat: RetailDialogue) -> dialogue.End:
  """Plays the whole dialogue, both sides.

  Raises:
    replay.Unplayable: a call was refused, or no question leads to a fact.
  """
  for k, (text, play) in enumerate(_topics(chat)):
    if k:
      chat.customer(words.NEXT, text)
    else:
      _identify(chat, chat.rng.choice(words.HELLO) + text)
    play()
  if not chat.end:
    chat.customer(words.BYE)
  return chat.end


def _topics(chat: RetailDialogue) -> Iterator[Topic]:
  """Yields the topics of the dialogue, one after the other."""
  customer = chat.user

  def ask(fact: user.Fact) -> Topic:
    return (chat.rng.choice(words.TELL).format(fact.ask),
            functools.partial(_answer, chat, fact))

  if chat.rng.random() < 0.5:  # else wait for facts that are told anyway
    while fact := customer.question(chat.untold(), (), early=True):
      yield ask(fact)
  for request in customer.requests:
    yield (customer.opening(request, chat.rng),
           functools.partial(_do, chat, request))
  while fact := customer.question(chat.untold(), chat.amounts):
    yield ask(fact)
  if left := chat.untold():
    raise replay.Unplayable(f'Nothing tells {left}.')
  transfer = chat.task.kind == 'transfer'
  if transfer or not (customer.requests
                      or chat.task.criteria.communicate_info):
    text = words.reason_for_call(customer.text)
    yield text, functools.partial(_deny, chat, text, transfer)


def _identify(chat: RetailDialogue, opening: str) -> None:
  """Plays the beginning: the first topic, and the search for the account."""
  tries = chat.user.identities()
  said = [words.MY_EMAIL if 'email' in args else words.MY_NAME
          for args in tries]
  if chat.rng.random() < 0.3:
    told = chat.rng.choice(said[0][:1]).format(*tries[0].values())
    chat.customer(('{} {}',), opening, told)
  else:
    chat.customer(('{}',), opening)
    chat.agent(words.WHO)
    chat.customer(said[0], *tries[0].values())
  for k, args in enumerate(tries):
    if k:
      chat.agent(words.NO_ACCOUNT)
      sorry = chat.rng.choice(words.CORRECTED)
      chat.customer((sorry + said[k][0],), *args.values())
    by = 'email' if 'email' in args else 'name_zip'
    result = chat.attempt('assistant', f'find_user_id_by_{by}', **args)
  if result.error:
    raise replay.Unplayable(f'There is no user {tries[-1]}.')
  chat.account = chat.read('get_user_details', user_id=result.content)
  chat.lead = chat.rng.choice(words.THANKS).format(
      chat.account['name']['first_name'])


def _do(chat: RetailDialogue, request: Request) -> None:
  """Plays from a request to the agent's report."""
  if request.name == user.MOVE_USER:
    _move(chat, request)
    return
  order = _find(chat, request)
  play = {user.CANCEL: _cancel, user.RETURN: _return,
          user.MOVE: _move, user.REPAY: _repay}
  play.get(request.name, _change)(chat, request, order)


def _find(chat: RetailDialogue, request: Request) -> Record:
  """Lets the agent find the order: by its id, or by its items."""
  key, items = chat.user.said(request)
  if key:
    return chat.order(key)
  names = {i['name'] for i in items}
  got = request.name in (user.RETURN, user.EXCHANGE)
  status = 'delivered' if got else 'pending'
  fits = {o['order_id']: o for o in chat.look()
          if o['status'].startswith(status)
          and names <= {i['name'] for i in o['items']}}
  if request.order not in fits:
    raise replay.Unplayable(f'Order {request.order} is not {status}.')
  if len(fits) > 1:
    named = {key: [i for i in o['items'] if i['name'] in names]
             for key, o in fits.items()}
    chat.agent(words.WHICH_ORDER, phrases.listed((
        f'{key} ({words.full(named[key]) or words.names(o["items"], "")})'
        for key, o in fits.items()), 'or'))
    chat.customer(words.THAT_ORDER, request.order)
  return fits[request.order]


def _which(chat: RetailDialogue, request: Request, order: Record
           ) -> list[Record]:
  """Lets the agent find the items, and ask for them where unclear."""
  key, has = order['order_id'], order['items']
  items = [next(i for i in has if i['item_id'] == wanted)
           for wanted in request.args['item_ids']]
  alike = {i['name']: [j for j in has if j['name'] == i['name']]
           for i in items}
  vague = {name for name, same in alike.items()
           if len({i['item_id'] for i in same})
           > len({i['item_id'] for i in items if i['name'] == name})}

  def tell(item: Record) -> str:
    more = f' with {words.options(item["options"])}' * (item['name'] in vague)
    return f'the {item["name"]}{more}'

  if not chat.user.said(request)[1] and len(has) > 1:
    chat.agent(words.WHICH_ITEMS, key, words.names(has, ''))
    everything = len(items) == len(has) and chat.rng.random() < 0.5
    chat.customer(words.THESE, 'all of them' if everything else phrases.listed(
        map(tell, items)) if vague else words.names(items))
    return items
  for name in sorted(vague):
    chat.agent(words.WHICH_ONE, key, name, words.full(alike[name]))
    chat.customer(words.THESE, phrases.listed(
        tell(i) for i in items if i['name'] == name))
  return items


def _confirm(chat: RetailDialogue, request: Request, proposal: Sequence[str],
             *gaps: Any) -> None:
  """Lets the agent propose a call, the user agree, and the agent make it."""
  chat.agent(proposal, *gaps, after=words.CONFIRM)
  chat.customer(words.YES)
  result = chat.read(request.name, **{
      k: request.args[k] for k in ARGUMENTS if k in request.args})
  if request.order:
    chat.orders[request.order] = result
  else:
    chat.account = result


def _cancel(chat: RetailDialogue, request: Request, order: Record) -> None:
  key, names = request.order, words.names(order['items'], '')
  if chat.user.partly(request):
    chat.agent(words.WHOLE, key, names)
    chat.customer(words.WHOLE_YES)
  chat.agent(words.REASON)
  chat.customer(words.MY_REASON[request.args['reason']])
  paid = order['payment_history'][0]
  to, amount = paid['payment_method_id'], float(paid['amount'])
  when = 'at once' if 'gift_card' in to else 'within 5 to 7 business days'
  _confirm(chat, request, words.CANCEL, key, names, words.money(amount),
           chat.user.payment(to), when)
  chat.amounts.append(user.Amount(key, True, [amount], to))
  chat.close(words.CANCELLED, key)


def _return(chat: RetailDialogue, request: Request, order: Record) -> None:
  key, items = request.order, _which(chat, request, order)
  if not _pay(chat, request, order):
    return
  prices = [float(i['price']) for i in items]
  amount = words.money(chat.add(prices))
  _confirm(chat, request, words.RETURN, key, words.full(items), amount,
           chat.user.payment(request.payment))
  chat.amounts.append(user.Amount(key, True, prices, request.payment))
  chat.close(words.RETURNED, key)


def _change(chat: RetailDialogue, request: Request, order: Record) -> None:
  """Plays an exchange, or a change of a pending order's items."""
  key, olds = request.order, _which(chat, request, order)
  news = _versions(chat, olds, request.args['new_item_ids'])
  terms = [t for old, new in zip(olds, news)
           for t in (float(new['price']), -float(old['price']))]
  amount = chat.add(terms)
  if not _pay(chat, request, order, amount):
    return
  how = chat.user.payment(request.payment)
  cost = (f'You pay ${words.money(amount)} with {how}.' if amount > 0 else
          f'${words.money(amount)} go back to {how}.' if amount < 0 else
          f'There is no price difference; {how} is noted.')
  _confirm(chat, request, words.CHANGE[request.name], key, '; '.join(
      f'{old["name"]} to item {new["item_id"]} '
      f'({words.options(records.changed_options(old, new)) or "the same"}, '
      f'${words.money(new["price"])})' for old, new in zip(olds, news)), cost)
  chat.amounts.append(user.Amount(key, False, terms, request.payment))
  chat.close(words.CHANGED[request.name], key)


def _versions(chat: RetailDialogue, olds: Sequence[Record],
              ids: Sequence[str]) -> list[Record]:
  """Lets the user choose the versions that replace the items."""
  chat.agent(words.INSTEAD, words.names(olds))
  told = [chat.user.describe(old, key) for old, key in zip(olds, ids)]
  chat.customer(words.WISH, phrases.listed(text for text, _ in told))
  news = []
  for old, (_, vague), key in zip(olds, told, ids):
    stock = chat.product(old['product_id'])['variants']
    if vague:
      chat.agent(words.VERSIONS, old['name'], words.offer(stock, old, vague))
      chat.customer(words.PICK, words.options(
          records.changed_options(old, stock[key])))
    news.append(stock[key])
  return news


def _pay(chat: RetailDialogue, request: Request, order: Record,
         amount: float = 0) -> bool:
  """Settles the payment method; returns False if the user gives up over it."""
  methods, tell = chat.account['payment_methods'], chat.user.payment
  back = request.name == user.RETURN
  paid = order['payment_history'][0]['payment_method_id']
  may = [key for key, m in methods.items()
         if not back or key == paid or m['source'] == 'gift_card']
  if len(may) == 1 and not request.first:
    return True
  listed = phrases.listed(map(tell, may), 'or')
  chat.agent(words.REFUND if back else words.PAY, listed)
  chat.customer(words.BY, tell(request.first or request.payment))
  if not request.first:
    return True
  if back:
    chat.agent(words.NO_REFUND_TO, listed)
  else:
    balance = methods[request.first].get('balance', 0)
    chat.agent(words.TOO_LITTLE, words.money(balance), words.money(amount))
  if request.hopeless:
    chat.customer(words.LEAVE)
    chat.close(words.LEFT)
    return False
  chat.customer(words.THEN_BY, tell(request.payment))
  return True


def _repay(chat: RetailDialogue, request: Request, order: Record) -> None:
  """Plays the change to another payment method for a pending order."""
  key, tell = request.order, chat.user.payment
  paid = order['payment_history'][0]['payment_method_id']
  others = (k for k in chat.account['payment_methods'] if k != paid)
  chat.agent(words.OTHER_PAY, phrases.listed(map(tell, others), 'or'))
  chat.customer(words.BY, tell(request.payment))
  _confirm(chat, request, words.REPAY, key, tell(request.payment), tell(paid))
  chat.close(words.REPAID, key)


def _move(chat: RetailDialogue, request: Request,
          order: Record | None = None) -> None:
  """Plays the change to a new address, of an order or of the user."""
  chat.agent(words.NEW_ADDRESS)
  new = {k: request.args[k] for k in STREET}
  call = chat.user.place(new, changed=chat.account['address'] != new)
  chat.customer(words.ADDRESS, call)
  if call.startswith('the address of'):
    chat.look(call)
  if order:
    _confirm(chat, request, words.MOVE, request.order, words.address(new))
    chat.close(words.MOVED, request.order)
  else:
    _confirm(chat, request, words.MOVE_USER, words.address(new))
    chat.close(words.MOVED_USER)


def _answer(chat: RetailDialogue, fact: user.Fact) -> None:
  """Lets the agent look up the fact that the user asks for, and tell it."""
  if fact.look:
    chat.look(fact.ask)
  for name in filter(None, fact.product.split('|')):
    known = {i['name']: i['product_id']
             for o in chat.orders.values() for i in o['items']}
    if name not in known:
      known = chat.read('list_all_product_types')
    chat.product(known[name])
  text = fact.answer
  if fact.terms:
    text = text.format(words.money(chat.add(fact.terms)))
  chat.close(('{}',), text)


def _deny(chat: RetailDialogue, text: str, transfer: bool) -> None:
  """Lets the agent look into the request and refuse it by a rule."""
  chat.look(text)
  chat.agent(words.DENY, words.rule(text))
  if not transfer:
    chat.customer(words.ACCEPTED)
    chat.close(words.LEFT)
    return
  chat.customer(words.HUMAN)
  chat.call('assistant', 'transfer_to_human_agents',
            summary=f'The customer asks: {text}')
  chat.agent(words.HOLD)
  chat.customer(words.HANDED)
