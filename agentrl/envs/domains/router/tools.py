"""Defines the tools of the provider's agent, and the caller's on the router."""

from __future__ import annotations

from typing import Any, Literal

from agentrl.envs import state as state_lib
from agentrl.envs import tools
from agentrl.envs.domains.router import state as database

Plan = Literal['basic', 'plus', 'max']
Reason = Literal['abuse', 'billing', 'card', 'moving']
State = state_lib.State


def _find(state: State, table: str, key: str) -> state_lib.Record:
  if (record := state.get(table, key)) is None:
    raise tools.ToolError(f'there is no {key} among the {table}.')
  return record


def speed(state: State, router: str) -> int:
  """Returns the result of a speed test on the router's wifi."""
  device = _find(state, 'devices', router)
  line = state.get('lines', device['account'])
  if (lights(state, router) != 'power green, line green'
      or device['wifi'] == 'off' or device['airplane'] == 'on'):
    return 0
  plan = state.get('accounts', device['account'])['plan']
  full = min(database.SPEED[plan], line['limit'])
  slow = (line['signal'] == 'weak') + (device['channel'] in device['busy'])
  return full // 2**slow


def lights(state: State, router: str) -> str:
  """Returns the state of the two lights of a router."""
  device = _find(state, 'devices', router)
  line = state.get('lines', device['account'])
  if device['power'] == 'off':
    return 'power off, line off'
  if device['cable'] != 'in':
    return 'power green, line off'
  works = (state.get('accounts', device['account'])['status'] == 'active'
           and line['area'] == 'ok' and line['signal'] != 'down'
           and not device['stuck'] and not device['broken'])
  return f'power green, line {"green" if works else "red"}'


# The agent's tools.


def find_account(state: State, name: str) -> str:
  """Finds the account of a customer.

  Args:
    name: first and last name, as the customer says it.
  """
  for key, home in state.rows('accounts'):
    if home['name'].lower() == name.lower():
      return (f'account {key}: {home["status"]}, plan {home["plan"]} '
              f'{database.SPEED[home["plan"]]}, bill of {home["due"]}, '
              f'card {home["card"]}')
  raise tools.ToolError(f'there is no account of {name}.')


def line_status(state: State, account: str) -> str:
  """Measures the line and looks for outages in the area.

  Args:
    account: id of the account.
  """
  line = _find(state, 'lines', account)
  area = 'ok' if line['area'] == 'ok' else f'outage until day {line["back"]}'
  return (f'line {account}: signal {line["signal"]}, limit {line["limit"]}, '
          f'area {area}')


def reset_line(state: State, account: str) -> str:
  """Resets the line, which mends a signal that is down or weak.

  Args:
    account: id of the account.
  """
  _find(state, 'lines', account)
  line = state.edit('lines', account)
  line.update(signal='ok', resets=line['resets'] + 1)
  return f'line {account}: signal ok'


def pay_bill(state: State, account: str, amount: int) -> str:
  """Charges what is due to the card on file.

  Args:
    account: id of the account.
    amount: all that is due.
  """
  home = _find(state, 'accounts', account)
  if home['card'] == 'expired':
    raise tools.ToolError('the card is expired.')
  if amount != home['due'] or not amount:
    raise tools.ToolError(f'due is {home["due"]}, not {amount}.')
  state.edit('accounts', account)['due'] = 0
  return f'account {account}: paid {amount}, due 0'


def resume_service(state: State, account: str) -> str:
  """Makes a suspended or paused account active again.

  Args:
    account: id of the account.
  """
  home = _find(state, 'accounts', account)
  if home['status'] not in ('suspended', 'paused'):
    raise tools.ToolError(f'the account is {home["status"]}.')
  if home['due']:
    raise tools.ToolError(f'due is {home["due"]}.')
  state.edit('accounts', account).update(status='active', until=0)
  return f'account {account}: active'


def pause_service(state: State, account: str, until: int) -> str:
  """Pauses an active account.

  Args:
    account: id of the account.
    until: the day on which it becomes active again.
  """
  home = _find(state, 'accounts', account)
  if home['status'] != 'active':
    raise tools.ToolError(f'the account is {home["status"]}.')
  state.edit('accounts', account).update(status='paused', until=until)
  return f'account {account}: paused until day {until}'


def move_service(state: State, account: str, day: int) -> str:
  """Moves the service to the new house of a customer.

  Args:
    account: id of the account.
    day: the day on which the customer moves.
  """
  if _find(state, 'accounts', account)['moves']:
    raise tools.ToolError('a move is set already.')
  state.edit('accounts', account)['moves'] = day
  return f'account {account}: moves on day {day}'


def show_plans(state: State, account: str) -> str:
  """Shows the price of each plan, the limit of the line and the contract.

  Args:
    account: id of the account.
  """
  home = _find(state, 'accounts', account)
  prices = ', '.join(f'{plan} costs {price} for {database.SPEED[plan]}'
                     for plan, price in home['prices'].items())
  return (f'{prices}; limit {state.get("lines", account)["limit"]}; '
          f'contract until day {home["contract"]}')


def change_plan(state: State, account: str, plan: Plan) -> str:
  """Changes the plan of an account.

  Args:
    account: id of the account.
    plan: the new plan.
  """
  if _find(state, 'accounts', account)['plan'] == plan:
    raise tools.ToolError(f'the plan is {plan} already.')
  state.edit('accounts', account)['plan'] = plan
  return f'account {account}: plan {plan} {database.SPEED[plan]}'


def show_visits(state: State, account: str) -> str:
  """Shows the technician's visit and the days that are free.

  Args:
    account: id of the account.
  """
  visit = _find(state, 'visits', account)
  booked = f'visit on day {visit["day"]}' if visit['day'] else 'no visit'
  return f'{booked}; free days {", ".join(map(str, visit["free"]))}'


def book_visit(state: State, account: str, day: int) -> str:
  """Books a technician, or moves a visit that is booked.

  Args:
    account: id of the account.
    day: a free day.
  """
  if day not in _find(state, 'visits', account)['free']:
    raise tools.ToolError(f'day {day} is not free.')
  visit = state.edit('visits', account)
  visit.update(day=day, free=[d for d in visit['free'] if d != day])
  return f'visit on day {day}'


def cancel_visit(state: State, account: str) -> str:
  """Cancels the technician's visit.

  Args:
    account: id of the account.
  """
  if not _find(state, 'visits', account)['day']:
    raise tools.ToolError('no visit is booked.')
  state.edit('visits', account)['day'] = 0
  return 'no visit'


def list_fees(state: State, account: str) -> str:
  """Lists the fees of an account and how many credits it has had.

  Args:
    account: id of the account.
  """
  home = _find(state, 'accounts', account)
  fees = ', '.join(f'fee of {fee["amount"]}: {key} {fee["kind"]}'
                   for key, fee in state.rows('fees')
                   if fee['account'] == account and not fee['credited'])
  return f'{fees or "no fees"}; credits {home["credits"]}'


def apply_credit(state: State, fee: str, amount: int) -> str:
  """Gives a fee back as a credit.

  Args:
    fee: id of the fee.
    amount: how much of it.
  """
  record = _find(state, 'fees', fee)
  if record['credited']:
    raise tools.ToolError('the fee is credited already.')
  if not 0 < amount <= record['amount']:
    raise tools.ToolError(f'the fee is {record["amount"]}, not {amount}.')
  state.edit('fees', fee)['credited'] = amount
  home = state.edit('accounts', record['account'])
  home.update(credit=home['credit'] + amount, credits=home['credits'] + 1)
  return f'fee {fee}: credited {amount}'


def transfer_to_human(state: State, reason: Reason) -> str:
  """Hands the customer over to a human; nothing can be done afterwards.

  Args:
    reason: what the human is needed for.
  """
  if state.get('desk', 'call')['transfer']:
    raise tools.ToolError('the customer is handed over already.')
  state.edit('desk', 'call')['transfer'] = reason
  return 'transferred'


# The caller's tools. `router` is the id printed on the router.


def _edit(state: State, router: str) -> dict[str, Any]:
  _find(state, 'devices', router)
  return state.edit('devices', router)


def look_at_lights(state: State, router: str) -> str:
  """Looks at the lights of the router.

  Args:
    router: id printed on the router.
  """
  return lights(state, router)


def press_power(state: State, router: str) -> str:
  """Presses the power switch of the router.

  Args:
    router: id printed on the router.
  """
  device = _edit(state, router)
  device['power'] = 'on' if device['power'] == 'off' else 'off'
  return f'power {device["power"]}'


def check_cable(state: State, router: str) -> str:
  """Looks where the cable of the router is.

  Args:
    router: id printed on the router.
  """
  return f'cable {_find(state, "devices", router)["cable"]}'


def replug_cable(state: State, router: str) -> str:
  """Plugs the cable into the router.

  Args:
    router: id printed on the router.
  """
  device = _edit(state, router)
  if device['cable'] != 'out':
    raise tools.ToolError(f'the cable is {device["cable"]}.')
  device['cable'] = 'in'
  return 'cable in'


def reboot_router(state: State, router: str) -> str:
  """Reboots the router, which helps if it is stuck, and shows its lights.

  Args:
    router: id printed on the router.
  """
  device = _edit(state, router)
  if device['power'] == 'off':
    raise tools.ToolError('the power is off.')
  device.update(stuck=False, reboots=device['reboots'] + 1)
  return lights(state, router)


def check_wifi(state: State, router: str) -> str:
  """Looks at the wifi of router and laptop.

  Args:
    router: id printed on the router.
  """
  device = _find(state, 'devices', router)
  free = [c for c in database.CHANNELS if c not in device['busy']]
  return (f'wifi {device["wifi"]}, airplane {device["airplane"]}, channel '
          f'{device["channel"]}, free channels {", ".join(map(str, free))}')


def press_wifi(state: State, router: str) -> str:
  """Presses the wifi button of the router.

  Args:
    router: id printed on the router.
  """
  device = _edit(state, router)
  device['wifi'] = 'on' if device['wifi'] == 'off' else 'off'
  return f'wifi {device["wifi"]}'


def toggle_airplane(state: State, router: str) -> str:
  """Switches the airplane mode of the laptop.

  Args:
    router: id printed on the router.
  """
  device = _edit(state, router)
  device['airplane'] = 'on' if device['airplane'] == 'off' else 'off'
  return f'airplane {device["airplane"]}'


def set_wifi_channel(state: State, router: str, channel: int) -> str:
  """Sets the wifi channel of the router.

  Args:
    router: id printed on the router.
    channel: 1, 6 or 11.
  """
  if channel not in database.CHANNELS:
    raise tools.ToolError(f'there is no channel {channel}.')
  device = _edit(state, router)
  if device['channel'] == channel:
    raise tools.ToolError(f'the channel is {channel} already.')
  device['channel'] = channel
  return f'channel {channel}'


def run_speed_test(state: State, router: str) -> str:
  """Measures the speed of the connection.

  Args:
    router: id printed on the router.
  """
  shown = speed(state, router)
  _edit(state, router)['tested'] = shown
  return f'speed {shown}'


AGENT = (find_account, line_status, reset_line, pay_bill, resume_service,
         pause_service, move_service, show_plans, change_plan, show_visits,
         book_visit, cancel_visit, list_fees, apply_credit, transfer_to_human)
USER = (look_at_lights, press_power, check_cable, replug_cable, reboot_router,
        check_wifi, press_wifi, toggle_airplane, set_wifi_channel,
        run_speed_test)
