"""Reads orders, items, payment and addresses of tau2-bench retail.

The records are plain JSON, as the database has them. Most functions draw the
details of a demand of `tasks.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import desk as desk_lib
from agentrl.eigendata.tau2 import phrases

Record = Mapping[str, Any]  # an order, an item, a product or a user
Desk = desk_lib.Desk
call = types.ToolCall

STREETS = ('Juniper Street', 'Harbor Lane', 'Quarry Road', 'Lantern Avenue',
           'Foxglove Court', 'Mill Pond Drive', 'Orchard Terrace')


def orders(desk: Desk, status: Collection[str]) -> list[Record]:
  """Returns the customer's orders in a state where no product occurs twice.

  So the name of a product identifies an item.
  """
  mine = [desk.db['orders'][key] for key in desk.user['orders']]
  return [o for o in mine if o['status'] in status
          and len({i['product_id'] for i in o['items']}) == len(o['items'])]


def find_by(desk: Desk, order: Record
            ) -> tuple[str, str, Sequence[types.ToolCall]]:
  """Draws a name of an order.

  Returns:
    id of the order, the customer's name of it, and the look-ups that find it.
  """
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


def call_about(tool: str, order: Record, **arguments: Any) -> types.ToolCall:
  """Returns a call about an order."""
  return call(tool, {'order_id': order['order_id'], **arguments})


def exchange_call(order: Record, items: Iterable[Record], new: Sequence[str],
                  payer: str) -> types.ToolCall:
  """Returns the call that replaces items by others with the ids `new`."""
  tool = ('modify_pending_order_items' if order['status'] == 'pending'
          else 'exchange_delivered_order_items')
  return call_about(tool, order, item_ids=[i['item_id'] for i in items],
                    new_item_ids=list(new), payment_method_id=payer)


def payment_method(desk: Desk, amount: float, but: str = '') -> str | None:
  """Draws a payment method that covers an amount, other than `but`."""
  return desk.pick([
      key for key, m in desk.user['payment_methods'].items() if key != but
      and (m['source'] != 'gift_card' or m['balance'] >= max(0, amount))])


def total_price(items: Iterable[Record]) -> float:
  return sum(i['price'] for i in items)


def some_items(desk: Desk, order: Record, most: int) -> list[Record]:
  """Draws one to `most` items of an order."""
  return desk.rng.sample(order['items'], desk.rng.randint(
      1, min(most, len(order['items']))))


def other_variant(desk: Desk, item: Record, available: bool = True
                  ) -> tuple[Record, str] | None:
  """Draws another variant of an item; returns it and the words for it."""
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
            key=lambda v: len(changed_options(item, v)))
  changes = changed_options(item, new)
  words = phrases.listed(f'{k} {v}' for k, v in changes.items())
  rest = ', all else the same' * (len(changes) < len(new['options']))
  return new, f'one with {words}{rest}'


def changed_options(old: Record, new: Record) -> dict[str, str]:
  """Returns the options of the new item that the old one does not have."""
  return {k: v for k, v in new['options'].items()
          if old['options'].get(k) != v}


def product_look_ups(items: Iterable[Record]) -> tuple[types.ToolCall, ...]:
  return tuple(call('get_product_details', {'product_id': i['product_id']})
               for i in items)


def new_address(desk: Desk) -> tuple[dict[str, str], str]:
  """Draws a new address, with city and zip of another customer."""
  near = desk.db['users'][desk.stranger()]['address']
  new = {**near, 'address1': f'{desk.rng.randint(2, 980)} '
                             f'{desk.rng.choice(STREETS)}',
         'address2': f'{desk.rng.choice(("Apt", "Suite", "Unit"))} '
                     f'{desk.rng.randint(2, 99)}'}
  return new, '{address1}, {address2}, {city}, {state} {zip}, {country}'.format(
      **new)
