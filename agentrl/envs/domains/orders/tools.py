"""Defines the tools of the shop's agent."""

from __future__ import annotations

from typing import Literal

from agentrl.envs import state as state_lib
from agentrl.envs import tools
from agentrl.envs.domains.orders import state as shop

State = state_lib.State
Method = Literal['card', 'credit']
Color = Literal['pink', 'blue', 'green', 'black', 'white', 'yellow']
Reason = Literal['damaged', 'fraud']


def _find(state: State, table: str, label: str, key: str) -> state_lib.Record:
  if (record := state.get(table, key)) is None:
    raise tools.ToolError(f'no {label} {key}')
  return record


def _order(state: State, order: str, *status: str) -> state_lib.Record:
  """Returns an order.

  Args:
    state: the database.
    order: its id.
    *status: refused unless it has one of these; none allows any.
  """
  record = _find(state, 'orders', 'order', order)
  if status and record['status'] not in status:
    raise tools.ToolError(f'the order is {record["status"]}')
  return record


def _pay_out(state: State, order: str, method: str, amount: int) -> str:
  """Pays money to the owner of an order; returns a text on their credit."""
  if method == 'card':
    return ''
  customer = state.edit('customers', state.get('orders', order)['customer'])
  customer['credit'] += amount
  return f', credit {customer["credit"]} EUR'


def find_customer(state: State, name: str) -> str:
  """Looks up a customer.

  Args:
    name: full name.
  """
  customer = _find(state, 'customers', 'customer', name)
  return f'{name}: {customer["tier"]}, credit {customer["credit"]} EUR'


def get_order(state: State, order: str) -> str:
  """Shows an order: since when it has its status, and how it was paid.

  Args:
    order: its id.
  """
  o, paid = _order(state, order), state.get('payments', order)
  return (f'{order} of {o["customer"]}: {o["status"]} {shop.TODAY - o["day"]} '
          f'days, {o["color"]} {o["item"]}, {paid["amount"]} EUR by '
          f'{paid["method"]}, to {o["city"]}')


def find_order(state: State, name: str, what: str) -> str:
  """Shows the order of a customer who gives no id.

  Args:
    name: full name.
    what: color and item.
  """
  for key in _find(state, 'customers', 'customer', name)['orders']:
    order = state.get('orders', key)
    if f'{order["color"]} {order["item"]}' == what:
      return get_order(state, key)
  raise tools.ToolError(f'no {what} of {name}')


def get_payment(state: State, order: str) -> str:
  """Shows how often an order was charged, and if that looks like fraud.

  Args:
    order: its id.
  """
  paid = _find(state, 'payments', 'order', order)
  times = 'once' if paid['charges'] == 1 else 'twice'
  return (f'{order}: {paid["amount"]} EUR by {paid["method"]}, charged {times}'
          + ', flagged' * paid['flagged'])


def get_product(state: State, item: str) -> str:
  """Shows the price of a product and the colors in stock.

  Args:
    item: what it is.
  """
  product = _find(state, 'products', 'product', item)
  return f'{item}: {product["price"]} EUR, in {" ".join(product["stock"])}'


def cancel_order(state: State, order: str) -> str:
  """Cancels a pending order and refunds it to the method it was paid by.

  Args:
    order: its id.
  """
  _order(state, order, 'pending')
  state.edit('orders', order)['status'] = 'cancelled'
  method = state.get('payments', order)['method']
  return f'{order}: cancelled' + _refund(state, order, method)


def return_order(state: State, order: str, refund: Method) -> str:
  """Takes back a delivered order.

  Args:
    order: its id.
    refund: where the money goes.
  """
  _order(state, order, 'delivered')
  state.edit('orders', order)['status'] = 'returning'
  return f'{order}: returning' + _refund(state, order, refund)


def _refund(state: State, order: str, method: str) -> str:
  payment = state.edit('payments', order)
  payment['refund'] = method
  return _pay_out(state, order, method, payment['amount'])


def exchange_order(state: State, order: str, color: Color) -> str:
  """Exchanges a delivered order for the same item in another color.

  Args:
    order: its id.
    color: the new color; must be in stock.
  """
  item = _order(state, order, 'delivered')['item']
  if color not in state.get('products', item)['stock']:
    raise tools.ToolError(f'no {color} {item} in stock')
  state.edit('orders', order).update(status='exchanging', color=color)
  return f'{order}: exchanging, {color}'


def change_city(state: State, order: str, city: str) -> str:
  """Sends a pending order to another city.

  Args:
    order: its id.
    city: the new city.
  """
  if _order(state, order, 'pending')['city'] == city:
    raise tools.ToolError(f'it goes to {city} already')
  if city not in shop.CITIES:
    raise tools.ToolError(f'no delivery to {city}')
  state.edit('orders', order)['city'] = city
  return f'{order}: to {city}'


def change_payment(state: State, order: str, method: Method) -> str:
  """Pays a pending order by another method, and refunds the old one.

  Args:
    order: its id.
    method: the new method.
  """
  owner = _order(state, order, 'pending')['customer']
  old = state.get('payments', order)
  if old['method'] == method:
    raise tools.ToolError(f'it is paid by {method} already')
  credit, price = state.get('customers', owner)['credit'], old['amount']
  if method == 'credit' and credit < price:
    raise tools.ToolError('not enough credit')
  state.edit('payments', order)['method'] = method
  return f'{order}: paid by {method}' + _pay_out(
      state, order, 'credit', -price if method == 'credit' else price)


def refund_charge(state: State, order: str) -> str:
  """Pays back the second charge of an order that was charged twice.

  Args:
    order: its id.
  """
  payment = _find(state, 'payments', 'order', order)
  if payment['charges'] == 1:
    raise tools.ToolError('it was charged once')
  state.edit('payments', order)['charges'] = 1
  return f'{order}: charged once' + _pay_out(
      state, order, payment['method'], payment['amount'])


def give_credit(state: State, order: str, amount: Literal[10, 20]) -> str:
  """Gives a customer store credit for a late parcel, once.

  Args:
    order: id of what is late.
    amount: in EUR.
  """
  if 'excuse' in _order(state, order, 'shipped'):
    raise tools.ToolError('there was credit for it already')
  state.edit('orders', order)['excuse'] = amount
  return f'{order}: late' + _pay_out(state, order, 'credit', amount)


def reship_order(state: State, order: str) -> str:
  """Sends a lost order again.

  Args:
    order: its id.
  """
  if 'reshipped' in _order(state, order, 'shipped'):
    raise tools.ToolError('it was sent again already')
  state.edit('orders', order)['reshipped'] = True
  return f'{order}: sent again'


def transfer_to_human(state: State, reason: Reason) -> str:
  """Hands the customer over to a colleague.

  Args:
    reason: why.
  """
  if state.get('desk', 'transfer'):
    raise tools.ToolError('the customer was handed over already')
  state.edit('desk', 'transfer')['reason'] = reason
  return 'transferred'


AGENT = (find_customer, get_order, find_order, get_payment, get_product,
         cancel_order, return_order, exchange_order, change_city,
         change_payment, refund_charge, give_credit, reship_order,
         transfer_to_human)
USER = ()
