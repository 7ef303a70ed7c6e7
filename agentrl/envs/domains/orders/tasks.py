"""What customers of the shop want, and how a good agent deals with it."""

from __future__ import annotations

import random

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs.domains.orders import state as shop
from agentrl.envs.domains.orders import steps

State = state_lib.State
Demand = domain.Demand
agent, user, call, agree = steps.agent, steps.user, steps.call, steps.agree

ENTITY = r'\b[a-z]+[A-Z][a-z]+\b'


def callers(state: State) -> list[str]:
  """Full names of the customers."""
  return [name for name, _ in state.rows('customers')]


def opening(state: State, caller: str) -> tuple[str, tuple[types.Beat, ...]]:
  """What callers know of themselves, and how they are identified."""
  del state
  return f'You are {caller}.', (
      agent('May I have your full name?', 'What is your full name?',
            'Sure. Your full name, please?', 'Who am I talking to?'),
      user(f'{caller}.', f'I am {caller}.', f'My name is {caller}.'),
      call('find_customer', name=caller))


def cancel(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Cancel: pending orders only. Some keep it after all."""
  talk = steps.start('cancel', state, caller, rng,
                     dict(pending=8, shipped=1, delivered=1))
  if talk is None:
    return None
  talk.ask()
  talk.wish('cancel_order', order=talk.key)
  keeps = rng.random() < 0.15
  goal = f'Cancel {talk.name}' + (
      '; when asked to confirm, keep it.' if keeps else '.')
  if talk.strange:
    return talk.not_theirs(goal)
  if talk.order['status'] != 'pending':
    return _uncancelled(talk, goal)
  if not keeps:
    return _cancelled(talk, goal)
  talk.add(_offer_cancel(talk),
           user('No, I keep it.', 'Wait, I will keep it.',
                'I changed my mind, I keep it.'))
  return talk.end(goal, f'Fine, {talk.key} stays as it is.',
                  f'Okay, then order {talk.key} stays.',
                  f'I see, so {talk.key} stays.',
                  tell=('stays',), kind='fallback')


def _offer_cancel(talk: steps.Talk) -> types.Beat:
  key, paid = talk.key, talk.payment
  money, method = f'{paid["amount"]} EUR', paid['method']
  return agent(f'I will cancel {key}, {money} go to your {method}. Okay?',
               f'Cancel order {key}, {money} back to {method}. Is that right?',
               f'Shall I cancel {key}? You get {money} on your {method}.')


def _cancelled(talk: steps.Talk, goal: str) -> Demand:
  """The agent cancels it."""
  key, paid = talk.key, talk.payment
  money, method = f'{paid["amount"]} EUR', paid['method']
  talk.add(_offer_cancel(talk), steps.YES, call('cancel_order', order=key))
  return talk.end(goal, f'Done, {key} is cancelled, {money} go to {method}.',
                  f'I cancelled {key}. You get {money} back by {method}.',
                  f'It is done, {money} for {key} go to your {method}.',
                  tell=(money.lower(),))


def _uncancelled(talk: steps.Talk, goal: str) -> Demand:
  """The agent refuses to cancel it."""
  status = talk.order['status']
  return talk.end(goal, *_no_cancel(talk), tell=(status,), kind='refuse')


def _no_cancel(talk: steps.Talk) -> tuple[str, ...]:
  key, status = talk.key, talk.order['status']
  return (f'Order {key} was {status} already, I cannot cancel it.',
          f'I am sorry, {key} was {status}, it cannot be cancelled.',
          f'I cannot cancel {key}, it was {status} already.')


def undo(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Cancel, or else return: what was delivered can be sent back in time."""
  talk = steps.start('undo', state, caller, rng,
                     dict(pending=4, shipped=1, delivered=2))
  if talk is None:
    return None
  talk.ask()
  method = rng.choice(('card', 'credit'))
  goal = f'Cancel {talk.name}; if it was delivered, return it to {method}.'
  match talk.order['status']:
    case 'pending':
      return _cancelled(talk, goal)
    case 'shipped':
      return _uncancelled(talk, goal)
  talk.wish('return_order', order=talk.key, refund=method)
  talk.add(agent(*_no_cancel(talk)),
           user(f'Then return it to {method}.',
                f'So return it to {method}, please.',
                f'Then please return it to {method}.'))
  return _returned(talk, goal, method, ('delivered',))


def give_back(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Return: delivered and in time; the customer chooses the refund."""
  talk = steps.start('give_back', state, caller, rng, dict(delivered=1))
  if talk is None:
    return None
  talk.ask()
  method, first = rng.sample(('card', 'credit'), 2)
  goal = f'Return {talk.name}, refund to {method}.'
  if thinks_again := rng.random() < 0.2:
    goal = (f'Return {talk.name}, refund to {first}; when asked to confirm, '
            f'change to {method}.')
  wish = first if thinks_again else method
  talk.wish('return_order', order=talk.key, refund=wish)
  if talk.strange:
    return talk.not_theirs(goal)
  if talk.late:
    return _returned(talk, goal, method)
  talk.add(agent(f'I can take back {talk.key}. Refund to card or credit?',
                 f'You can return {talk.key}. Do you want card or credit?',
                 'Where should the refund go, card or credit?'),
           user(f'Refund to {wish}, please.', f'Please refund to {wish}.',
                f'I want the refund to {wish}.'))
  if thinks_again:
    talk.add(_offer_return(talk, first), _rather(method))
  return _returned(talk, goal, method)


def _offer_return(talk: steps.Talk, method: str) -> types.Beat:
  key, money = talk.key, f'{talk.payment["amount"]} EUR'
  return agent(f'So I take back {key} and refund {money} to {method}. Okay?',
               f'Return {key}, {money} to your {method}. Is that right?',
               f'Shall I take back {key}? {money} go to your {method}.')


def _rather(wish: str) -> types.Beat:
  return user(f'Wait, change to {wish}.', f'No, change to {wish}.',
              f'I changed my mind, change to {wish}.')


def _returned(talk: steps.Talk, goal: str, method: str,
              told: tuple[str, ...] = ()) -> Demand:
  """The agent takes it back, or refuses to if it is too late."""
  key, money = talk.key, f'{talk.payment["amount"]} EUR'
  if talk.late:
    return talk.end(
        goal, f'Order {key} came {talk.age} days ago, too late to return it.',
        f'I am sorry, it is too late to return {key}.',
        f'It is too late for {key}, I cannot take it back.',
        tell=(*told, 'too late'), kind='refuse')
  talk.add(_offer_return(talk, method), steps.YES,
           call('return_order', order=key, refund=method))
  return talk.end(goal, f'Done, {money} for {key} go to your {method}.',
                  f'The return of {key} is set, {money} to {method}.',
                  f'I took back {key}. You get {money} by {method}.',
                  tell=(*told, money.lower()), answers=(method,),
                  kind='fallback' if told else 'do')


def exchange(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Exchange the color: in time and in stock, or else another; some think
  again."""
  talk = steps.start('exchange', state, caller, rng, dict(delivered=1))
  if talk is None:
    return None
  item, has = talk.order['item'], talk.order['color']
  stock = state.get('products', item)['stock']
  fit = [c for c in stock if c != has]
  gone = [c for c in shop.COLORS if c not in stock and c != has]
  color = rng.choice(fit)
  draw, first = rng.random(), ''
  goal = f'Exchange {talk.name} for {color}.'
  if draw < 0.2:
    first = rng.choice(gone)
    goal = f'Exchange {talk.name} for {first}; if there is none, take {color}.'
  elif draw < 0.4 and len(fit) > 1:
    first = rng.choice([c for c in fit if c != color])
    goal = (f'Exchange {talk.name} for {first}; when asked to confirm, change '
            f'to {color}.')
  talk.ask(first or color)
  talk.wish('exchange_order', order=talk.key, color=first or color)
  if talk.late:
    return talk.end(
        goal, f'It came {talk.age} days ago, too late to exchange {talk.key}.',
        f'I am sorry, it is too late to exchange {talk.key}.',
        f'It is too late for {talk.key}, I cannot exchange it.',
        tell=('too late',), kind='refuse')
  talk.add(call('get_product', item=item))
  if first in fit:
    talk.add(_offer_exchange(talk, first), _rather(color))
  elif first:
    talk.add(agent(f'There is no {first} {item} in stock. Another color?',
                   f'We have no {first} {item}. Which other color?',
                   f'I am sorry, no {first} {item}. Another one?'),
             user(f'Then take {color}.', f'Okay, take {color} instead.',
                  f'Please take {color} then.'))
    return _exchanged(talk, goal, color, (f'no {first} {item}',))
  return _exchanged(talk, goal, color)


def _offer_exchange(talk: steps.Talk, color: str) -> types.Beat:
  key, new = talk.key, f'{color} {talk.order["item"]}'
  return agent(f'I exchange {key} for a {new}. Okay?',
               f'Order {key}, a {new} instead. Is that right?',
               f'Shall I swap {key} for a {new}?')


def _exchanged(talk: steps.Talk, goal: str, color: str,
               told: tuple[str, ...] = ()) -> Demand:
  """The agent exchanges it."""
  key, new = talk.key, f'{color} {talk.order["item"]}'
  talk.add(_offer_exchange(talk, color), steps.YES,
           call('exchange_order', order=key, color=color))
  return talk.end(goal, f'Done, a {new} comes for {key}.',
                  f'Order {key} is exchanged for a {new}.',
                  f'I swapped {key}, your {new} is on its way.',
                  tell=(*told, new), answers=(color,),
                  kind='fallback' if told else 'do')


def move(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Another city: pending orders only; some think again."""
  first, city = rng.sample(shop.CITIES, 2)
  thinks_again = rng.random() < 0.2
  asked = first if thinks_again else city
  talk = steps.start('move', state, caller, rng, dict(pending=4, shipped=1))
  if talk is None or talk.order['city'] in (first, city):
    return None
  talk.ask(asked)
  key = talk.key
  goal = f'Send {talk.name} to {asked}' + (
      f'; when asked to confirm, change to {city}.' if thinks_again else '.')
  talk.wish('change_city', order=key, city=asked)
  if talk.strange:
    # And back: a state that shows nothing of it.
    talk.wish('change_city', order=key, city=talk.order['city'])
    return talk.not_theirs(goal)
  if talk.order['status'] == 'shipped':
    return talk.end(goal, f'Order {key} has shipped, the city cannot change.',
                    f'I am sorry, {key} has shipped already.',
                    f'I cannot change {key}, it has shipped.',
                    tell=('shipped',), kind='refuse')
  if thinks_again:
    talk.add(_offer_move(key, first), _rather(city))
  talk.add(_offer_move(key, city), steps.YES,
           call('change_city', order=key, city=city))
  return talk.end(goal, f'Done, {key} goes to {city}.',
                  f'The new city of {key} is {city}.',
                  f'I changed it, {key} is sent to {city}.',
                  tell=(city.lower(),), answers=(city,) * thinks_again)


def _offer_move(key: str, city: str) -> types.Beat:
  return agent(f'I will send {key} to {city}. Okay?',
               f'Order {key} goes to {city} now. Is that right?',
               f'Shall I change {key} to {city}?')


def repay(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Another method of payment: pending, and credit must cover it."""
  method, old = rng.sample(('card', 'credit'), 2)
  talk = steps.start('repay', state, caller, rng, dict(pending=1))
  if talk is None or talk.payment['method'] != old:
    return None
  talk.ask(method)
  key, money = talk.key, f'{talk.payment["amount"]} EUR'
  goal = f'Pay {talk.name} by {method}.'
  talk.wish('change_payment', order=key, method=method)
  credit = state.get('customers', caller)['credit']
  if method == 'credit' and credit < talk.payment['amount']:
    return talk.end(
        goal, f'You do not have enough credit for {key}, it costs {money}.',
        f'I am sorry, there is not enough credit for {key}.',
        f'I cannot change {key}, you have not enough credit.',
        tell=('enough credit',), kind='refuse')
  talk.add(*agree(f'I will charge {money} for {key} to {method}. Okay?',
                  f'Order {key}, {money} by {method}. Is that right?',
                  f'Shall I change {key} to {method}?'),
           call('change_payment', order=key, method=method))
  return talk.end(goal, f'Done, {key} is paid by {method}.',
                  f'You pay {key} by {method} now.',
                  f'I changed {key}, it is charged to your {method}.',
                  tell=(method,))


def charged(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Charged twice: one charge back; flagged payments go to a human."""
  talk = steps.start('charged', state, caller, rng,
                     dict(pending=1, shipped=1, delivered=1))
  # Most who ask have a reason to.
  if talk is None or talk.payment['charges'] == 1 and rng.random() < 0.7:
    return None
  talk.ask()
  key, paid = talk.key, talk.payment
  money, method = f'{paid["amount"]} EUR', paid['method']
  goal = f'Ask if you were charged twice for {talk.name}.'
  talk.wish('refund_charge', order=key)
  talk.add(call('get_payment', order=key))
  if paid['flagged']:
    return _hand_over(talk, goal, 'fraud')
  if paid['charges'] == 1:
    return talk.end(goal, f'Order {key} was charged once, {money}.',
                    f'I see one charge of {money} for {key}, just once.',
                    f'You paid {money} for {key} once.',
                    tell=('once',), kind='refuse')
  talk.wish('transfer_to_human', reason='fraud')
  talk.add(*agree(f'Order {key} was charged twice. I refund {money}, okay?',
                  f'You paid {key} twice. Shall I refund {money} to {method}?',
                  f'I will refund {money} for {key} to your {method}. Okay?'),
           call('refund_charge', order=key))
  return talk.end(goal, f'Done, {money} for {key} go back to your {method}.',
                  f'I refunded {money} for {key} to your {method}.',
                  f'You get {money} for {key} back by {method}.',
                  tell=(money.lower(),))


def _hand_over(talk: steps.Talk, goal: str, reason: str) -> Demand:
  """The agent hands the caller over."""
  talk.add(call('transfer_to_human', reason=reason))
  return talk.end(goal, f'I hand you over to a colleague for {talk.key}.',
                  f'A colleague will take over for {talk.key}.',
                  f'For {talk.key} I transfer you to a colleague.',
                  tell=('colleague',), kind='transfer')


def parcel(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Where is it: on time, late (credit by tier), or lost (send again)."""
  talk = steps.start('parcel', state, caller, rng, dict(shipped=1))
  if talk is None:
    return None
  talk.ask()
  key, goal = talk.key, f'Ask: where is {talk.name}?'
  amount = 20 if talk.gold else 10
  talk.wish('give_credit', order=key, amount=amount)
  talk.wish('reship_order', order=key)
  if talk.age <= 7:
    return talk.end(
        goal, f'Order {key} was shipped {talk.age} days ago, it is on time.',
        f'Please wait, {key} is still on time.',
        f'It is on time, {key} will come soon.',
        tell=('on time',), kind='refuse')
  if talk.age > 14:
    talk.add(*agree(f'Order {key} seems lost. Shall I send it again?',
                    f'I think {key} is lost. I can send it again, okay?',
                    f'I am sorry, {key} is lost. I send it again, okay?'),
             call('reship_order', order=key))
    return talk.end(goal, f'Done, {key} is sent again.',
                    f'It is done, {key} was sent again.',
                    f'I had {key} sent again.', tell=('sent again',))
  talk.add(*agree(
      f'Order {key} is late. I can give you {amount} EUR credit. Okay?',
      f'I am sorry that {key} is late. May I give you {amount} EUR credit?',
      f'Shall I give you {amount} EUR credit because {key} is late?'),
           call('give_credit', order=key, amount=amount))
  return talk.end(goal, f'Done, you have {amount} EUR more credit.',
                  f'I gave you {amount} EUR credit for {key}.',
                  f'You got {amount} EUR credit, {key} will come soon.',
                  tell=(f'{amount} eur',))


def damaged(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Damaged: a dear one goes to a human, a cheap one back to credit."""
  talk = steps.start('damaged', state, caller, rng, dict(delivered=1))
  if talk is None:
    return None
  talk.ask()
  key, money = talk.key, f'{talk.payment["amount"]} EUR'
  goal = f'Say that you got {talk.name} damaged.'
  talk.wish('return_order', order=key, refund='credit')
  if talk.payment['amount'] >= 60:
    return _hand_over(talk, goal, 'damaged')
  talk.wish('transfer_to_human', reason='damaged')
  talk.add(*agree(f'I can take back {key} for {money} credit. Okay?',
                  f'I am sorry. Shall I refund {money} for {key} to credit?',
                  f'May I take back {key} and give you {money} credit?'),
           call('return_order', order=key, refund='credit'))
  return talk.end(goal, f'Done, {money} for {key} go to your credit.',
                  f'You get {money} credit for {key}.',
                  f'I took back {key}, {money} are on your credit.',
                  tell=(money.lower(),))


FAMILIES = (cancel, undo, give_back, exchange, move, repay, charged, parcel,
            damaged)
