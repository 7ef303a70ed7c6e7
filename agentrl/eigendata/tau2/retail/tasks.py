"""What customers of tau2-bench retail want, drawn from its database.

Each family follows the policy: what it allows becomes gold writes, what it
forbids a refusal, and what no tool can do goes to a human. Whatever the
arguments of a write hang on stands in the words of the demand, or can be
looked up without a choice being left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
import functools
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import desk as tau2_tasks

Record = Mapping[str, Any]
Demand, Desk = tau2_tasks.Demand, tau2_tasks.Desk
call = types.ToolCall

REASONS = {
    'no longer needed': ('you no longer need it', 'it is no longer needed',
                         'you do not need it any more'),
    'ordered by mistake': ('you ordered it by mistake', 'it was a mistake',
                           'you placed it by mistake')}
OTHER_REASONS = ('you found it cheaper elsewhere', 'it takes too long to ship',
                 'a friend told you that the quality is poor',
                 'you want to wait for the next sale')
STREETS = ('Juniper Street', 'Harbor Lane', 'Quarry Road', 'Lantern Avenue',
           'Foxglove Court', 'Mill Pond Drive', 'Orchard Terrace')
# What no tool of the agent can do.
BEYOND = {
    'change the email address of your account to a new one':
        'The customer wants another email address.',
    'add a new credit card to your account':
        'The customer wants to add a credit card.',
    'have your account deleted': 'The customer wants the account deleted.',
    'have the price of your last order matched to that of another store':
        'The customer asks for a price match.',
    'report that a parcel marked as delivered never arrived, and have it '
    'traced': 'The customer misses a delivered parcel.',
    'have an order gift-wrapped and sent with a greeting card':
        'The customer wants gift wrapping.',
    'agree on an exact hour of delivery with the courier':
        'The customer wants a delivery hour.'}


def identify(desk: Desk) -> tuple[str, str | None, Sequence[types.ToolCall]]:
  """What the user knows of itself, does not know, and how it is found."""
  user, name = desk.user, desk.user['name']
  full = f'{name["first_name"]} {name["last_name"]}'
  if desk.rng.random() < 0.4:
    words = desk.rng.choice((
        'You are {}, and your email is {}.', 'Your name is {}. Email: {}.'))
    return words.format(full, user['email']), None, (
        call('find_user_id_by_email', {'email': user['email']}),)
  words = desk.rng.choice((
      'You are {} in zip code {}.', 'Your name is {}, and your zip code is {}.',
      'You are {}, and you live in {city}, {}.'))
  place = user['address']
  unknown = desk.rng.choice((None, 'You do not remember your email address.'))
  return (words.format(full, place['zip'], city=place['city']), unknown,
          (call('find_user_id_by_name_zip', {**name, 'zip': place['zip']}),))


# --- Of orders, items and payment ---


def _orders(desk: Desk, status: Collection[str]) -> list[Record]:
  """Orders of the customer in which a product's name says which item."""
  mine = [desk.db['orders'][key] for key in desk.user['orders']]
  return [o for o in mine if o['status'] in status
          and len({i['product_id'] for i in o['items']}) == len(o['items'])]


def _named(desk: Desk, order: Record
           ) -> tuple[str, str, Sequence[types.ToolCall]]:
  """Id of an order, what the customer calls it, the look-ups to find it."""
  key, keys = order['order_id'], desk.user['orders']
  names = [i['name'] for k in keys for i in desk.db['orders'][k]['items']]
  own = [i['name'] for i in order['items'] if names.count(i['name']) == 1]
  words, seen = f'{desk.rng.choice(("", "your "))}order {key}', [key]
  if own and desk.rng.random() < 0.3:
    words = f'your order with the {desk.rng.choice(own)}'
    seen = keys[:keys.index(key) + 1]
  return key, words, (
      call('get_user_details', {'user_id': desk.user['user_id']}),
      *(call('get_order_details', {'order_id': k}) for k in seen))


def _to(tool: str, order: Record, **arguments: Any) -> types.ToolCall:
  """A call about an order."""
  return call(tool, {'order_id': order['order_id'], **arguments})


def _exchange(order: Record, items: Iterable[Record], new: Sequence[str],
              payer: str) -> types.ToolCall:
  tool = ('modify_pending_order_items' if order['status'] == 'pending'
          else 'exchange_delivered_order_items')
  return _to(tool, order, item_ids=[i['item_id'] for i in items],
             new_item_ids=list(new), payment_method_id=payer)


def _payer(desk: Desk, amount: float, but: str = '') -> str | None:
  """A payment method that covers an amount."""
  return desk.pick([
      key for key, m in desk.user['payment_methods'].items() if key != but
      and (m['source'] != 'gift_card' or m['balance'] >= max(0, amount))])


def _total(items: Iterable[Record]) -> float:
  return sum(i['price'] for i in items)


def _some(desk: Desk, order: Record, most: int) -> list[Record]:
  return desk.rng.sample(order['items'], desk.rng.randint(
      1, min(most, len(order['items']))))


def _variant(desk: Desk, item: Record, available: bool = True
             ) -> tuple[Record, str] | None:
  """Another variant of an item, and what to change it to in words."""
  product = desk.db['products'][item['product_id']]
  others = [v for v in product['variants'].values()
            if v['item_id'] != item['item_id'] and v['available'] == available]
  cheapest = sorted((v for v in product['variants'].values()
                     if v['available']), key=lambda v: v['price'])
  if (available and desk.rng.random() < 0.2 and len(cheapest) > 1
      and cheapest[0]['price'] < cheapest[1]['price']
      and cheapest[0] in others):
    return cheapest[0], 'the cheapest one available, whatever its options'
  if not others:
    return None
  # Few changes are more natural than many.
  new = min(desk.rng.sample(others, min(2, len(others))),
            key=lambda v: len(_changes(item, v)))
  changes = _changes(item, new)
  words = tau2_tasks.listed([f'{k} {v}' for k, v in changes.items()])
  rest = ', all else the same' * (len(changes) < len(new['options']))
  return new, f'one with {words}{rest}'


def _changes(item: Record, new: Record) -> dict[str, str]:
  return {k: v for k, v in new['options'].items()
          if item['options'].get(k) != v}


def _products(items: Iterable[Record]) -> tuple[types.ToolCall, ...]:
  return tuple(call('get_product_details', {'product_id': i['product_id']})
               for i in items)


def _address(desk: Desk) -> tuple[dict[str, str], str]:
  """A new address, with city and zip of someone else's."""
  near = desk.db['users'][desk.stranger()]['address']
  new = {**near, 'address1': f'{desk.rng.randint(2, 980)} '
                             f'{desk.rng.choice(STREETS)}',
         'address2': f'{desk.rng.choice(("Apt", "Suite", "Unit"))} '
                     f'{desk.rng.randint(2, 99)}'}
  return new, '{address1}, {address2}, {city}, {state} {zip}, {country}'.format(
      **new)


# --- What the policy allows ---


def _cancel(desk: Desk, order: Record) -> Demand:
  reason = desk.rng.choice(list(REASONS))
  why = desk.rng.choice(REASONS[reason])
  asks, facts = desk.ask(_total(order['items']), 'how much you get back for it')
  return Demand(f'cancel {{}}, because {why}.{asks}', facts=facts,
                writes=(_to('cancel_pending_order', order, reason=reason),))


def _swap(desk: Desk, order: Record) -> Demand | None:
  """Items for other variants of the same products."""
  # Of a pending order one item: the tool gives several the price of the last,
  # so that the order in which they are listed would matter.
  pending = order['status'] == 'pending'
  items = _some(desk, order, 1 if pending else 2)
  found = [_variant(desk, item) for item in items]
  more = all(found) and _total(v for v, _ in found) - _total(items)
  if not all(found) or not (payer := _payer(desk, more)):
    return None
  first = desk.rng.choice(
      ('change the {} in {{}} to {}.', 'have the {} of {{}} replaced by {}.')
      if pending else
      ('exchange the {} of {{}} for {}.', 'swap the {} of {{}} for {}.')
  ).format(items[0]['name'], found[0][1])
  also = [f' Of the same order, you want the {i["name"]} as {new}.'
          for i, (_, new) in zip(items[1:], found[1:])]
  settle = desk.rng.choice((
      ' Use {} for the difference.', ' The price difference goes over {}.'))
  asks, facts = desk.ask(abs(more), 'what the price difference is')
  return Demand(
      f'{first}{"".join(also)}{settle.format(desk.method(payer))}{asks}',
      reads=_products(items), facts=facts, writes=(
          _exchange(order, items, [v['item_id'] for v, _ in found], payer),))


def _give_back(desk: Desk, order: Record) -> Demand:
  items = _some(desk, order, 3)
  paid = order['payment_history'][0]['payment_method_id']
  way = desk.rng.choice([paid, *(
      key for key, m in desk.user['payment_methods'].items()
      if m['source'] == 'gift_card' and key != paid)])
  to = desk.method(way)
  if way == paid and desk.rng.random() < 0.5:
    to = 'the original payment method'
  asks, facts = desk.ask(_total(items), 'how much you will be refunded')
  what = tau2_tasks.listed([f'the {i["name"]}' for i in items])
  return Demand(
      f'return {what} of {{}}. The refund should go to {to}.{asks}',
      facts=facts, writes=(_to(
          'return_delivered_order_items', order, payment_method_id=way,
          item_ids=[i['item_id'] for i in items]),))


def _order_address(desk: Desk, order: Record) -> Demand:
  new, where = _address(desk)
  return Demand(desk.rng.choice((
      'have {{}} sent to another address: {}.', 'change the shipping address '
      'of {{}} to {}.')).format(where), writes=(
          _to('modify_pending_order_address', order, **new),))


def _order_payment(desk: Desk, order: Record) -> Demand | None:
  paid = order['payment_history'][0]
  if not (way := _payer(desk, paid['amount'], paid['payment_method_id'])):
    return None
  return Demand(desk.rng.choice((
      'pay for {{}} with {} instead.', 'have {{}} charged to {} instead.'
  )).format(desk.method(way)), writes=(
      _to('modify_pending_order_payment', order, payment_method_id=way),))


def _user_address(desk: Desk) -> Demand:
  new, where = _address(desk)
  key = desk.user['user_id']
  return Demand(desk.rng.choice((
      'change your default address to {}.', 'update the address in your '
      'profile to {}.', 'tell that you have moved: your default address is now '
      '{}.')).format(where), key,
                (call('get_user_details', {'user_id': key}),),
                (call('modify_user_address', {'user_id': key, **new}),))


# --- Questions ---


def _tracking(desk: Desk, order: Record) -> Demand:
  return Demand('know the tracking id of {}.',
                facts=tuple(order['fulfillments'][0]['tracking_id']))


def _order_total(desk: Desk, order: Record) -> Demand:
  return Demand('know how much you paid in total for {}.',
                facts=(tau2_tasks.figure(_total(order['items'])),))


def _price(desk: Desk) -> Demand | None:
  product = desk.rng.choice(list(desk.db['products'].values()))
  variants = sorted((v for v in product['variants'].values()
                     if v['available']), key=lambda v: v['price'])
  if not variants:
    return None
  chosen, name = desk.rng.choice(variants), product['name']
  options = [f'{k} {v}' for k, v in chosen['options'].items()]
  chosen, want = desk.rng.choice((
      (chosen, f'the price of the {name} with {tau2_tasks.listed(options)}'),
      (variants[0], f'what the cheapest available {name} costs'),
      (variants[-1], f'what the most expensive available {name} costs')))
  return Demand(f'know {want}.', facts=(tau2_tasks.figure(chosen['price']),),
                reads=(call('list_all_product_types', {}),
                       *_products([product])))


# --- What the policy forbids: here, the writes must not be made ---


def _other_reason(desk: Desk, order: Record) -> Demand:
  return Demand(
      f'cancel {{}}, because {desk.rng.choice(OTHER_REASONS)}. There is no '
      'other reason.',
      writes=(_to('cancel_pending_order', order, reason='no longer needed'),))


def _part_cancel(desk: Desk, order: Record) -> Demand | None:
  if len(order['items']) < 2:
    return None
  return Demand(
      f'cancel only the {desk.rng.choice(order["items"])["name"]} of {{}} and '
      'keep the rest of it as it is.',
      writes=(_to('cancel_pending_order', order, reason='no longer needed'),))


def _other_refund(desk: Desk, order: Record) -> Demand | None:
  paid = order['payment_history'][0]['payment_method_id']
  way = desk.pick([key for key, m in desk.user['payment_methods'].items()
                   if key != paid and m['source'] != 'gift_card'])
  item = desk.rng.choice(order['items'])
  return way and Demand(
      f'return the {item["name"]} of {{}}, but only if the refund goes to '
      f'{desk.method(way)}.', writes=(_to(
          'return_delivered_order_items', order, item_ids=[item['item_id']],
          payment_method_id=way),))


def _other_product(desk: Desk, order: Record) -> Demand:
  item = desk.rng.choice(order['items'])
  product = desk.rng.choice([p for p in desk.db['products'].values()
                             if p['product_id'] != item['product_id']])
  an = 'an' if product['name'][0] in 'AEIO' else 'a'
  return Demand(
      f'swap the {item["name"]} of {{}} for {an} {product["name"]}.',
      writes=(_exchange(order, [item], [min(product['variants'])],
                        min(desk.user['payment_methods'])),))


def _sold_out(desk: Desk, order: Record) -> Demand | None:
  item = desk.rng.choice(order['items'])
  if not (found := _variant(desk, item, available=False)):
    return None
  return Demand(
      f'swap the {item["name"]} of {{}} for {found[1]}.',
      reads=_products([item]), writes=(_exchange(
          order, [item], [found[0]['item_id']],
          min(desk.user['payment_methods'])),))


def _small_card(desk: Desk, order: Record) -> Demand | None:
  paid = order['payment_history'][0]
  way = desk.pick([key for key, m in desk.user['payment_methods'].items()
                   if m['source'] == 'gift_card'
                   and m['balance'] < paid['amount']
                   and key != paid['payment_method_id']])
  return way and Demand(
      f'pay for all of {{}} with {desk.method(way)} instead.', writes=(
          _to('modify_pending_order_payment', order, payment_method_id=way),))


def _stranger(desk: Desk) -> Demand | None:
  """The order of someone else."""
  orders = desk.db['orders']
  key = desk.pick([k for k in desk.db['users'][desk.stranger()]['orders']
                   if orders[k]['status'] == 'pending'])
  return key and Demand(
      f'cancel order {key} of a friend who asked you to, as it is no longer '
      'needed.', key, (call('get_order_details', {'order_id': key}),),
      forbidden=(_to('cancel_pending_order', orders[key],
                     reason='no longer needed'),))


def _human(desk: Desk) -> Demand:
  want, why = desk.rng.choice(list(BEYOND.items()))
  return Demand(f'{want}.', transfer=why)


def _about(inner: Any, *status: str, allowed: bool = True
           ) -> tau2_tasks.Family:
  """The family of a demand about an order in one of the states."""
  records = functools.partial(_orders, status=status)
  return tau2_tasks.about(inner, records, _named, allowed=allowed)


def _not(inner: Any, *status: str) -> tau2_tasks.Family:
  return _about(inner, *status, allowed=False)


FAMILIES: Mapping[str, tuple[int, tau2_tasks.Family]] = {
    'cancel': (10, _about(_cancel, 'pending')),
    'modify_items': (12, _about(_swap, 'pending')),
    'exchange': (14, _about(_swap, 'delivered')),
    'return': (14, _about(_give_back, 'delivered')),
    'order_address': (8, _about(_order_address, 'pending')),
    'order_payment': (8, _about(_order_payment, 'pending')),
    'user_address': (4, _user_address),
    'tracking': (4, _about(_tracking, 'delivered', 'processed')),
    'order_total': (4, _about(_order_total, 'delivered', 'processed')),
    'price': (5, _price),
    'no_late_cancel': (3, _not(_cancel, 'processed', 'delivered')),
    'no_late_address': (2, _not(_order_address, 'processed', 'delivered')),
    'no_other_reason': (2, _not(_other_reason, 'pending')),
    'no_part_cancel': (2, _not(_part_cancel, 'pending')),
    'no_other_refund': (2, _not(_other_refund, 'delivered')),
    'no_other_product': (2, _not(_other_product, 'pending', 'delivered')),
    'no_sold_out': (2, _not(_sold_out, 'pending', 'delivered')),
    'no_small_card': (2, _not(_small_card, 'pending')),
    'no_stranger': (2, _stranger),
    'human': (2, _human)}
