"""Draws demands of tau2-bench retail's customers from its database.

Each family follows the policy: an allowed demand becomes gold writes, a
forbidden one a refusal, and one beyond the tools goes to a human. The words of
a demand, with the look-ups, determine every argument of its writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import desk as desk_lib
from agentrl.eigendata.tau2 import phrases
from agentrl.eigendata.tau2.retail import records

Desk, DrawnDemand = desk_lib.Desk, desk_lib.DrawnDemand
Record = records.Record
call = types.ToolCall

REASONS = {
    'no longer needed': ('you no longer need it', 'it is no longer needed',
                         'you do not need it any more'),
    'ordered by mistake': ('you ordered it by mistake', 'it was a mistake',
                           'you placed it by mistake')}
OTHER_REASONS = ('you found it cheaper elsewhere', 'it takes too long to ship',
                 'a friend told you that the quality is poor',
                 'you want to wait for the next sale')
# Wishes beyond the agent's tools -> summary for the human who takes over.
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
  """Draws the user's knowledge of itself, the details that it does not know,
  and the calls that find its record."""
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


# --- Allowed by the policy ---


def _cancel(desk: Desk, order: Record) -> DrawnDemand:
  reason = desk.rng.choice(list(REASONS))
  why = desk.rng.choice(REASONS[reason])
  asks, facts = desk.question(
      records.total_price(order['items']), 'how much you get back for it')
  return DrawnDemand(
      f'cancel {{}}, because {why}.{asks}', facts=facts, writes=(
          records.call_about('cancel_pending_order', order, reason=reason),))


def _swap(desk: Desk, order: Record) -> DrawnDemand | None:
  """Draws an exchange of items for other variants of the same products."""
  # Only one item of a pending order: the tool gives several items the price of
  # the last, so their order would matter.
  pending = order['status'] == 'pending'
  items = records.some_items(desk, order, 1 if pending else 2)
  variants = [records.other_variant(desk, item) for item in items]
  more = all(variants) and (
      records.total_price(v for v, _ in variants) - records.total_price(items))
  if not all(variants) or not (payer := records.payment_method(desk, more)):
    return None
  first = desk.rng.choice(
      ('change the {} in {{}} to {}.', 'have the {} of {{}} replaced by {}.')
      if pending else
      ('exchange the {} of {{}} for {}.', 'swap the {} of {{}} for {}.')
  ).format(items[0]['name'], variants[0][1])
  also = [f' Of the same order, you want the {i["name"]} as {new}.'
          for i, (_, new) in zip(items[1:], variants[1:])]
  settle = desk.rng.choice((
      ' Use {} for the difference.', ' The price difference goes over {}.'))
  asks, facts = desk.question(abs(more), 'what the price difference is')
  return DrawnDemand(
      f'{first}{"".join(also)}{settle.format(desk.method(payer))}{asks}',
      reads=records.product_look_ups(items), facts=facts, writes=(
          records.exchange_call(
              order, items, [v['item_id'] for v, _ in variants], payer),))


def _give_back(desk: Desk, order: Record) -> DrawnDemand:
  items = records.some_items(desk, order, 3)
  paid = order['payment_history'][0]['payment_method_id']
  way = desk.rng.choice([paid, *(
      key for key, m in desk.user['payment_methods'].items()
      if m['source'] == 'gift_card' and key != paid)])
  to = desk.method(way)
  if way == paid and desk.rng.random() < 0.5:
    to = 'the original payment method'
  asks, facts = desk.question(
      records.total_price(items), 'how much you will be refunded')
  names = phrases.listed(f'the {i["name"]}' for i in items)
  return DrawnDemand(
      f'return {names} of {{}}. The refund should go to {to}.{asks}',
      facts=facts, writes=(records.call_about(
          'return_delivered_order_items', order, payment_method_id=way,
          item_ids=[i['item_id'] for i in items]),))


def _order_address(desk: Desk, order: Record) -> DrawnDemand:
  new, where = records.new_address(desk)
  return DrawnDemand(desk.rng.choice((
      'have {{}} sent to another address: {}.', 'change the shipping address '
      'of {{}} to {}.')).format(where), writes=(
          records.call_about('modify_pending_order_address', order, **new),))


def _order_payment(desk: Desk, order: Record) -> DrawnDemand | None:
  paid = order['payment_history'][0]
  way = records.payment_method(
      desk, paid['amount'], paid['payment_method_id'])
  if not way:
    return None
  return DrawnDemand(desk.rng.choice((
      'pay for {{}} with {} instead.', 'have {{}} charged to {} instead.'
  )).format(desk.method(way)), writes=(
      records.call_about('modify_pending_order_payment', order,
                         payment_method_id=way),))


def _user_address(desk: Desk) -> DrawnDemand:
  new, where = records.new_address(desk)
  key = desk.user['user_id']
  return DrawnDemand(desk.rng.choice((
      'change your default address to {}.', 'update the address in your '
      'profile to {}.', 'tell that you have moved: your default address is now '
      '{}.')).format(where), key,
                     (call('get_user_details', {'user_id': key}),),
                     (call('modify_user_address', {'user_id': key, **new}),))


# --- Questions ---


def _tracking(desk: Desk, order: Record) -> DrawnDemand:
  return DrawnDemand('know the tracking id of {}.',
                     facts=tuple(order['fulfillments'][0]['tracking_id']))


def _order_total(desk: Desk, order: Record) -> DrawnDemand:
  return DrawnDemand(
      'know how much you paid in total for {}.',
      facts=(phrases.figure(records.total_price(order['items'])),))


def _price(desk: Desk) -> DrawnDemand | None:
  product = desk.rng.choice(list(desk.db['products'].values()))
  variants = sorted((v for v in product['variants'].values()
                     if v['available']), key=lambda v: v['price'])
  if not variants:
    return None
  chosen, name = desk.rng.choice(variants), product['name']
  options = [f'{k} {v}' for k, v in chosen['options'].items()]
  chosen, want = desk.rng.choice((
      (chosen, f'the price of the {name} with {phrases.listed(options)}'),
      (variants[0], f'what the cheapest available {name} costs'),
      (variants[-1], f'what the most expensive available {name} costs')))
  return DrawnDemand(
      f'know {want}.', facts=(phrases.figure(chosen['price']),),
      reads=(call('list_all_product_types', {}),
             *records.product_look_ups([product])))


# --- Forbidden by the policy: here, the writes must not be made ---


def _other_reason(desk: Desk, order: Record) -> DrawnDemand:
  return DrawnDemand(
      f'cancel {{}}, because {desk.rng.choice(OTHER_REASONS)}. There is no '
      'other reason.', writes=(_no_longer_needed(order),))


def _no_longer_needed(order: Record) -> types.ToolCall:
  return records.call_about('cancel_pending_order', order,
                            reason='no longer needed')


def _part_cancel(desk: Desk, order: Record) -> DrawnDemand | None:
  if len(order['items']) < 2:
    return None
  return DrawnDemand(
      f'cancel only the {desk.rng.choice(order["items"])["name"]} of {{}} and '
      'keep the rest of it as it is.', writes=(_no_longer_needed(order),))


def _other_refund(desk: Desk, order: Record) -> DrawnDemand | None:
  paid = order['payment_history'][0]['payment_method_id']
  way = desk.pick([key for key, m in desk.user['payment_methods'].items()
                   if key != paid and m['source'] != 'gift_card'])
  item = desk.rng.choice(order['items'])
  return way and DrawnDemand(
      f'return the {item["name"]} of {{}}, but only if the refund goes to '
      f'{desk.method(way)}.', writes=(records.call_about(
          'return_delivered_order_items', order, item_ids=[item['item_id']],
          payment_method_id=way),))


def _other_product(desk: Desk, order: Record) -> DrawnDemand:
  item = desk.rng.choice(order['items'])
  product = desk.rng.choice([p for p in desk.db['products'].values()
                             if p['product_id'] != item['product_id']])
  an = 'an' if product['name'][0] in 'AEIO' else 'a'
  return DrawnDemand(
      f'swap the {item["name"]} of {{}} for {an} {product["name"]}.',
      writes=(records.exchange_call(order, [item], [min(product['variants'])],
                        min(desk.user['payment_methods'])),))


def _sold_out(desk: Desk, order: Record) -> DrawnDemand | None:
  item = desk.rng.choice(order['items'])
  if not (other := records.other_variant(desk, item, available=False)):
    return None
  return DrawnDemand(
      f'swap the {item["name"]} of {{}} for {other[1]}.',
      reads=records.product_look_ups([item]), writes=(records.exchange_call(
          order, [item], [other[0]['item_id']],
          min(desk.user['payment_methods'])),))


def _small_card(desk: Desk, order: Record) -> DrawnDemand | None:
  paid = order['payment_history'][0]
  way = desk.pick([key for key, m in desk.user['payment_methods'].items()
                   if m['source'] == 'gift_card'
                   and m['balance'] < paid['amount']
                   and key != paid['payment_method_id']])
  return way and DrawnDemand(
      f'pay for all of {{}} with {desk.method(way)} instead.', writes=(
          records.call_about('modify_pending_order_payment', order,
                             payment_method_id=way),))


def _stranger(desk: Desk) -> DrawnDemand | None:
  """Draws a demand about the order of another customer."""
  orders = desk.db['orders']
  key = desk.pick([k for k in desk.db['users'][desk.stranger()]['orders']
                   if orders[k]['status'] == 'pending'])
  return key and DrawnDemand(
      f'cancel order {key} of a friend who asked you to, as it is no longer '
      'needed.', key, (call('get_order_details', {'order_id': key}),),
      forbidden=(_no_longer_needed(orders[key]),))


def _human(desk: Desk) -> DrawnDemand:
  want, why = desk.rng.choice(list(BEYOND.items()))
  return DrawnDemand(f'{want}.', transfer=why)


def _about(inner: Any, *status: str, allowed: bool = True
           ) -> desk_lib.DemandFamily:
  """Makes the family of a demand about an order in one of the states."""
  orders = functools.partial(records.orders, status=status)
  return desk_lib.about_record(inner, orders, records.find_by, allowed=allowed)


def _not(inner: Any, *status: str) -> desk_lib.DemandFamily:
  return _about(inner, *status, allowed=False)


FAMILIES: Mapping[str, tuple[int, desk_lib.DemandFamily]] = {
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
