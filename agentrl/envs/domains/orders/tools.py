"""The tools of the shop's agent."""

from __future__ import annotations

from typing import Any, Literal

from agentrl.envs import state as state_lib
from agentrl.envs import tools
from agentrl.envs.domains.orders import state as shop

State = state_lib.State
Method = Literal['card', 'credit']
Color = Literal['red', 'blue', 'green', 'black', 'white', 'yellow']
Reason = Literal['damaged', 'fraud']


def _customer(state: State, name: str) -> Any:
  if (found := state.get('customers', name)) is None:
    raise tools.ToolError(f'no customer {name}')
  return found


def _order(state: State, order: str) -> Any:
  if (found := state.get('orders', order)) is None:
    raise tools.ToolError(f'no order {order}')
  return found


def _need(order: Any, *status: str) -> None:
  if order['status'] not in status:
    raise tools.ToolError(f'the order is {order["status"]}')


def find_customer(state: State, name: str) -> str:
  """Looks up a customer.

  Args:
    name: full name.
  """
  found = _customer(state, name)
  return f'{name}: {found["tier"]}, credit {found["credit"]} EUR'


def list_orders(state: State, name: str) -> str:
  """Lists the orders of a customer.

  Args:
    name: full name.
  """
  _customer(state, name)
  rows = [f'{key} {o["color"]} {o["item"]}'
          for key, o in state.rows('orders') if o['customer'] == name]
  return ', '.join(rows) or 'none'


def get_order(state: State, order: str) -> str:
  """Shows an order.

  Args:
    order: its id.
  """
  o = _order(state, order)
  return (f'{order} of {o["customer"]}: {o["status"]} {shop.TODAY - o["day"]} '
          f'days, {o["color"]} {o["item"]}, {o["price"]} EUR by {o["paid"]} '
          f', to {o["city"]}')


def get_product(state: State, item: str) -> str:
  """Shows the price of a product and the colors in stock.

  Args:
    item: what it is.
  """
  if (found := state.get('products', item)) is None:
    raise tools.ToolError(f'no product {item}')
  return f'{item}: {found["price"]} EUR, in {" ".join(found["stock"])}'


def cancel_order(state: State, order: str) -> str:
  """Cancels a pending order and refunds it to the method it was paid by.

  Args:
    order: its id.
  """
  _need(_order(state, order), 'pending')
  o = state.edit('orders', order)
  o['status'] = 'cancelled'
  _refund(state, o, o['paid'])
  return f'{order}: cancelled'


def _refund(state: State, order: Any, method: str) -> None:
  order['refund'] = method
  if method == 'credit':
    state.edit('customers', order['customer'])['credit'] += order['price']


def return_order(state: State, order: str, refund: Method) -> str:
  """Takes back a delivered order.

  Args:
    order: its id.
    refund: where the money goes.
  """
  _need(_order(state, order), 'delivered')
  o = state.edit('orders', order)
  o['status'] = 'returning'
  _refund(state, o, refund)
  return f'{order}: returning'


def exchange_order(state: State, order: str, color: Color) -> str:
  """Exchanges a delivered order for the same item in another color.

  Args:
    order: its id.
    color: the new color; must be in stock.
  """
  o = _order(state, order)
  _need(o, 'delivered')
  if color not in state.get('products', o['item'])['stock']:
    raise tools.ToolError(f'no {color} {o["item"]} in stock')
  o = state.edit('orders', order)
  o['status'], o['color'] = 'exchanging', color
  return f'{order}: exchanging, {color}'


def change_city(state: State, order: str, city: str) -> str:
  """Sends a pending order to another city.

  Args:
    order: its id.
    city: the new city.
  """
  o = _order(state, order)
  _need(o, 'pending')
  if o['city'] == city:
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
  o = _order(state, order)
  _need(o, 'pending')
  if o['paid'] == method:
    raise tools.ToolError(f'it is paid by {method} already')
  credit = _customer(state, o['customer'])['credit']
  if method == 'credit' and credit < o['price']:
    raise tools.ToolError('not enough credit')
  change = -o['price'] if method == 'credit' else o['price']
  state.edit('customers', o['customer'])['credit'] += change
  state.edit('orders', order)['paid'] = method
  return f'{order}: paid by {method}'


def give_credit(state: State, name: str, amount: Literal[10, 20]) -> str:
  """Gives a customer store credit for a late parcel.

  Args:
    name: full name.
    amount: in EUR.
  """
  _customer(state, name)
  state.edit('customers', name)['credit'] += amount
  return f'{name}: credit {state.get("customers", name)["credit"]} EUR'


def reship_order(state: State, order: str) -> str:
  """Sends a lost order again.

  Args:
    order: its id.
  """
  _need(_order(state, order), 'shipped')
  o = state.edit('orders', order)
  if o.get('reshipped'):
    raise tools.ToolError('it was sent again already')
  o['reshipped'] = True
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


AGENT = (find_customer, list_orders, get_order, get_product, cancel_order,
         return_order, exchange_order, change_city, change_payment, give_credit,
         reship_order, transfer_to_human)
USER = ()
