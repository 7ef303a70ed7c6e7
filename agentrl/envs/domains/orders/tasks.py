"""Drafts demands of the shop's customers, and how a good agent meets them."""

from __future__ import annotations

import random

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs.domains.orders import scripts
from agentrl.envs.domains.orders import state as shop

State = state_lib.State
Demand = domain.Demand
agent, user = scripts.agent, scripts.user
call, agree = scripts.call, scripts.agree

ENTITY = r'\b[a-z]+[A-Z][a-z]+\b'


def callers(state: State) -> list[str]:
  """Returns the full names of the customers."""
  return [name for name, _ in state.rows('customers')]


def opening(state: State, caller: str) -> tuple[str, tuple[types.Beat, ...]]:
  """Returns what callers know about themselves, and their identification."""
  del state
  return f'You are {caller}.', (
      agent('May I have your full name?', 'What is your full name?',
            'Sure. Your full name, please?', 'Who am I talking to?'),
      user(f'{caller}.', f'I am {caller}.', f'My name is {caller}.'),
      call('find_customer', name=caller))


def cancel(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a cancellation: pending orders only; some users keep the order."""
  script = scripts.start('cancel', state, caller, rng,
                         dict(pending=8, shipped=1, delivered=1))
  if script is None:
    return None
  script.ask()
  script.forbid('cancel_order', order=script.key)
  keeps = rng.random() < 0.15
  goal = f'Cancel {script.name}' + (
      '; when asked to confirm, keep it.' if keeps else '.')
  if script.strange:
    return script.not_theirs(goal)
  if script.order['status'] != 'pending':
    return _uncancelled(script, goal)
  if not keeps:
    return _cancelled(script, goal)
  script.add(_offer_cancel(script),
             user('No, I keep it.', 'Wait, I will keep it.',
                  'I changed my mind, I keep it.'))
  return script.end(goal, f'Fine, {script.key} stays as it is.',
                    f'Okay, then order {script.key} stays.',
                    f'I see, so {script.key} stays.',
                    tell=('stays',), kind='fallback')


def _offer_cancel(script: scripts.OrderScript) -> types.Beat:
  key, paid = script.key, script.payment
  money, method = f'{paid["amount"]} EUR', paid['method']
  return agent(f'I will cancel {key}, {money} go to your {method}. Okay?',
               f'Cancel order {key}, {money} back to {method}. Is that right?',
               f'Shall I cancel {key}? You get {money} on your {method}.')


def _cancelled(script: scripts.OrderScript, goal: str) -> Demand:
  """Ends with the agent cancelling the order."""
  key, paid = script.key, script.payment
  money, method = f'{paid["amount"]} EUR', paid['method']
  script.add(_offer_cancel(script), scripts.YES,
             call('cancel_order', order=key))
  return script.end(goal, f'Done, {key} is cancelled, {money} go to {method}.',
                    f'I cancelled {key}. You get {money} back by {method}.',
                    f'It is done, {money} for {key} go to your {method}.',
                    tell=(money.lower(),))


def _uncancelled(script: scripts.OrderScript, goal: str) -> Demand:
  """Ends with the agent refusing to cancel the order."""
  status = script.order['status']
  return script.end(goal, *_no_cancel(script), tell=(status,), kind='refuse')


def _no_cancel(script: scripts.OrderScript) -> tuple[str, ...]:
  key, status = script.key, script.order['status']
  return (f'Order {key} was {status} already, I cannot cancel it.',
          f'I am sorry, {key} was {status}, it cannot be cancelled.',
          f'I cannot cancel {key}, it was {status} already.')


def undo(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a cancellation, or the return of an order already delivered."""
  script = scripts.start('undo', state, caller, rng,
                         dict(pending=4, shipped=1, delivered=2))
  if script is None:
    return None
  script.ask()
  method = rng.choice(('card', 'credit'))
  goal = f'Cancel {script.name}; if it was delivered, return it to {method}.'
  match script.order['status']:
    case 'pending':
      return _cancelled(script, goal)
    case 'shipped':
      return _uncancelled(script, goal)
  script.forbid('return_order', order=script.key, refund=method)
  script.add(agent(*_no_cancel(script)),
             user(f'Then return it to {method}.',
                  f'So return it to {method}, please.',
                  f'Then please return it to {method}.'))
  return _returned(script, goal, method, ('delivered',))


def give_back(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a return: delivered and in time; the customer picks the refund."""
  script = scripts.start('give_back', state, caller, rng, dict(delivered=1))
  if script is None:
    return None
  script.ask()
  method, first = rng.sample(('card', 'credit'), 2)
  goal = f'Return {script.name}, refund to {method}.'
  if thinks_again := rng.random() < 0.2:
    goal = (f'Return {script.name}, refund to {first}; when asked to confirm, '
            f'change to {method}.')
  wish = first if thinks_again else method
  script.forbid('return_order', order=script.key, refund=wish)
  if script.strange:
    return script.not_theirs(goal)
  if script.late:
    return _returned(script, goal, method)
  script.add(agent(f'I can take back {script.key}. Refund to card or credit?',
                   f'You can return {script.key}. Do you want card or credit?',
                   'Where should the refund go, card or credit?'),
             user(f'Refund to {wish}, please.', f'Please refund to {wish}.',
                  f'I want the refund to {wish}.'))
  if thinks_again:
    script.add(_offer_return(script, first), _rather(method))
  return _returned(script, goal, method)


def _offer_return(script: scripts.OrderScript, method: str) -> types.Beat:
  key, money = script.key, f'{script.payment["amount"]} EUR'
  return agent(f'So I take back {key} and refund {money} to {method}. Okay?',
               f'Return {key}, {money} to your {method}. Is that right?',
               f'Shall I take back {key}? {money} go to your {method}.')


def _rather(wish: str) -> types.Beat:
  return user(f'Wait, change to {wish}.', f'No, change to {wish}.',
              f'I changed my mind, change to {wish}.')


def _returned(script: scripts.OrderScript, goal: str, method: str,
              told: tuple[str, ...] = ()) -> Demand:
  """Ends with a return, or a refusal if it is too late."""
  key, money = script.key, f'{script.payment["amount"]} EUR'
  if script.late:
    return script.end(
        goal, f'Order {key} came {script.age} days ago, too late to return it.',
        f'I am sorry, it is too late to return {key}.',
        f'It is too late for {key}, I cannot take it back.',
        tell=(*told, 'too late'), kind='refuse')
  script.add(_offer_return(script, method), scripts.YES,
             call('return_order', order=key, refund=method))
  return script.end(goal, f'Done, {money} for {key} go to your {method}.',
                    f'The return of {key} is set, {money} to {method}.',
                    f'I took back {key}. You get {money} by {method}.',
                    tell=(*told, money.lower()), answers=(method,),
                    kind='fallback' if told else 'do')


def exchange(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts an exchange of color: in time, in stock; some change their mind."""
  script = scripts.start('exchange', state, caller, rng, dict(delivered=1))
  if script is None:
    return None
  item, has = script.order['item'], script.order['color']
  stock = state.get('products', item)['stock']
  fit = [c for c in stock if c != has]
  gone = [c for c in shop.COLORS if c not in stock and c != has]
  color = rng.choice(fit)
  draw, first = rng.random(), ''
  goal = f'Exchange {script.name} for {color}.'
  if draw < 0.2:
    first = rng.choice(gone)
    goal = (f'Exchange {script.name} for {first}; if there is none, '
            f'take {color}.')
  elif draw < 0.4 and len(fit) > 1:
    first = rng.choice([c for c in fit if c != color])
    goal = (f'Exchange {script.name} for {first}; when asked to confirm, '
            f'change to {color}.')
  script.ask(first or color)
  script.forbid('exchange_order', order=script.key, color=first or color)
  if script.late:
    return script.end(
        goal,
        f'It came {script.age} days ago, too late to exchange {script.key}.',
        f'I am sorry, it is too late to exchange {script.key}.',
        f'It is too late for {script.key}, I cannot exchange it.',
        tell=('too late',), kind='refuse')
  script.add(call('get_product', item=item))
  if first in fit:
    script.add(_offer_exchange(script, first), _rather(color))
  elif first:
    script.add(agent(f'There is no {first} {item} in stock. Another color?',
                     f'We have no {first} {item}. Which other color?',
                     f'I am sorry, no {first} {item}. Another one?'),
               user(f'Then take {color}.', f'Okay, take {color} instead.',
                    f'Please take {color} then.'))
    return _exchanged(script, goal, color, (f'no {first} {item}',))
  return _exchanged(script, goal, color)


def _offer_exchange(script: scripts.OrderScript, color: str) -> types.Beat:
  key, new = script.key, f'{color} {script.order["item"]}'
  return agent(f'I exchange {key} for a {new}. Okay?',
               f'Order {key}, a {new} instead. Is that right?',
               f'Shall I swap {key} for a {new}?')


def _exchanged(script: scripts.OrderScript, goal: str, color: str,
               told: tuple[str, ...] = ()) -> Demand:
  """Ends with the agent exchanging the order."""
  key, new = script.key, f'{color} {script.order["item"]}'
  script.add(_offer_exchange(script, color), scripts.YES,
             call('exchange_order', order=key, color=color))
  return script.end(goal, f'Done, a {new} comes for {key}.',
                    f'Order {key} is exchanged for a {new}.',
                    f'I swapped {key}, your {new} is on its way.',
                    tell=(*told, new), answers=(color,),
                    kind='fallback' if told else 'do')


def move(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a change of city: pending orders only; some change their mind."""
  first, city = rng.sample(shop.CITIES, 2)
  thinks_again = rng.random() < 0.2
  asked = first if thinks_again else city
  script = scripts.start('move', state, caller, rng, dict(pending=4, shipped=1))
  if script is None or script.order['city'] in (first, city):
    return None
  script.ask(asked)
  key = script.key
  goal = f'Send {script.name} to {asked}' + (
      f'; when asked to confirm, change to {city}.' if thinks_again else '.')
  script.forbid('change_city', order=key, city=asked)
  if script.strange:
    # And back: the final state would not show it.
    script.forbid('change_city', order=key, city=script.order['city'])
    return script.not_theirs(goal)
  if script.order['status'] == 'shipped':
    return script.end(goal, f'Order {key} has shipped, the city cannot change.',
                      f'I am sorry, {key} has shipped already.',
                      f'I cannot change {key}, it has shipped.',
                      tell=('shipped',), kind='refuse')
  if thinks_again:
    script.add(_offer_move(key, first), _rather(city))
  script.add(_offer_move(key, city), scripts.YES,
             call('change_city', order=key, city=city))
  return script.end(goal, f'Done, {key} goes to {city}.',
                    f'The new city of {key} is {city}.',
                    f'I changed it, {key} is sent to {city}.',
                    tell=(city.lower(),), answers=(city,) * thinks_again)


def _offer_move(key: str, city: str) -> types.Beat:
  return agent(f'I will send {key} to {city}. Okay?',
               f'Order {key} goes to {city} now. Is that right?',
               f'Shall I change {key} to {city}?')


def repay(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a change of payment: pending orders, and credit must cover it."""
  method, old = rng.sample(('card', 'credit'), 2)
  script = scripts.start('repay', state, caller, rng, dict(pending=1))
  if script is None or script.payment['method'] != old:
    return None
  script.ask(method)
  key, money = script.key, f'{script.payment["amount"]} EUR'
  goal = f'Pay {script.name} by {method}.'
  script.forbid('change_payment', order=key, method=method)
  credit = state.get('customers', caller)['credit']
  if method == 'credit' and credit < script.payment['amount']:
    return script.end(
        goal, f'You do not have enough credit for {key}, it costs {money}.',
        f'I am sorry, there is not enough credit for {key}.',
        f'I cannot change {key}, you have not enough credit.',
        tell=('enough credit',), kind='refuse')
  script.add(*agree(f'I will charge {money} for {key} to {method}. Okay?',
                    f'Order {key}, {money} by {method}. Is that right?',
                    f'Shall I change {key} to {method}?'),
             call('change_payment', order=key, method=method))
  return script.end(goal, f'Done, {key} is paid by {method}.',
                    f'You pay {key} by {method} now.',
                    f'I changed {key}, it is charged to your {method}.',
                    tell=(method,))


def charged(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a refund of a double charge; flagged ones go to a human."""
  script = scripts.start('charged', state, caller, rng,
                         dict(pending=1, shipped=1, delivered=1))
  # Most callers who ask were charged twice.
  if script is None or script.payment['charges'] == 1 and rng.random() < 0.7:
    return None
  script.ask()
  key, paid = script.key, script.payment
  money, method = f'{paid["amount"]} EUR', paid['method']
  goal = f'Ask if you were charged twice for {script.name}.'
  script.forbid('refund_charge', order=key)
  script.add(call('get_payment', order=key))
  if paid['flagged']:
    return _hand_over(script, goal, 'fraud')
  if paid['charges'] == 1:
    return script.end(goal, f'Order {key} was charged once, {money}.',
                      f'I see one charge of {money} for {key}, just once.',
                      f'You paid {money} for {key} once.',
                      tell=('once',), kind='refuse')
  script.forbid('transfer_to_human', reason='fraud')
  script.add(*agree(f'Order {key} was charged twice. I refund {money}, okay?',
                    f'You paid {key} twice. Shall I refund {money} to {method}?',
                    f'I will refund {money} for {key} to your {method}. Okay?'),
             call('refund_charge', order=key))
  return script.end(goal, f'Done, {money} for {key} go back to your {method}.',
                    f'I refunded {money} for {key} to your {method}.',
                    f'You get {money} for {key} back by {method}.',
                    tell=(money.lower(),))


def _hand_over(script: scripts.OrderScript, goal: str, reason: str) -> Demand:
  """Ends with the agent handing the caller over."""
  script.add(call('transfer_to_human', reason=reason))
  return script.end(goal, f'I hand you over to a colleague for {script.key}.',
                    f'A colleague will take over for {script.key}.',
                    f'For {script.key} I transfer you to a colleague.',
                    tell=('colleague',), kind='transfer')


def parcel(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a missing parcel: on time, late (credit), or lost (send again)."""
  script = scripts.start('parcel', state, caller, rng, dict(shipped=1))
  if script is None:
    return None
  script.ask()
  key, goal = script.key, f'Ask: where is {script.name}?'
  amount = 20 if script.gold else 10
  script.forbid('give_credit', order=key, amount=amount)
  script.forbid('reship_order', order=key)
  if script.age <= 7:
    return script.end(
        goal, f'Order {key} was shipped {script.age} days ago, it is on time.',
        f'Please wait, {key} is still on time.',
        f'It is on time, {key} will come soon.',
        tell=('on time',), kind='refuse')
  if script.age > 14:
    script.add(*agree(f'Order {key} seems lost. Shall I send it again?',
                      f'I think {key} is lost. I can send it again, okay?',
                      f'I am sorry, {key} is lost. I send it again, okay?'),
               call('reship_order', order=key))
    return script.end(goal, f'Done, {key} is sent again.',
                      f'It is done, {key} was sent again.',
                      f'I had {key} sent again.', tell=('sent again',))
  script.add(*agree(
      f'Order {key} is late. I can give you {amount} EUR credit. Okay?',
      f'I am sorry that {key} is late. May I give you {amount} EUR credit?',
      f'Shall I give you {amount} EUR credit because {key} is late?'),
             call('give_credit', order=key, amount=amount))
  return script.end(goal, f'Done, you have {amount} EUR more credit.',
                    f'I gave you {amount} EUR credit for {key}.',
                    f'You got {amount} EUR credit, {key} will come soon.',
                    tell=(f'{amount} eur',))


def damaged(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Drafts a damaged order: a human if expensive, else a refund to credit."""
  script = scripts.start('damaged', state, caller, rng, dict(delivered=1))
  if script is None:
    return None
  script.ask()
  key, money = script.key, f'{script.payment["amount"]} EUR'
  goal = f'Say that you got {script.name} damaged.'
  script.forbid('return_order', order=key, refund='credit')
  if script.payment['amount'] >= 60:
    return _hand_over(script, goal, 'damaged')
  script.forbid('transfer_to_human', reason='damaged')
  script.add(*agree(f'I can take back {key} for {money} credit. Okay?',
                    f'I am sorry. Shall I refund {money} for {key} to credit?',
                    f'May I take back {key} and give you {money} credit?'),
             call('return_order', order=key, refund='credit'))
  return script.end(goal, f'Done, {money} for {key} go to your credit.',
                    f'You get {money} credit for {key}.',
                    f'I took back {key}, {money} are on your credit.',
                    tell=(money.lower(),))


FAMILIES = (cancel, undo, give_back, exchange, move, repay, charged, parcel,
            damaged)
