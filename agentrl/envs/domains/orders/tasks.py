"""What customers of the shop want, and how a good agent deals with it."""

from __future__ import annotations

import random
from typing import Any

from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs.domains.orders import state as shop

State = state_lib.State
Demand = domain.Demand
Beat = domain.Beat

ENTITY = r'\b[a-z]+[A-Z][a-z]+\b'
MORE = (' Anything else?', ' What else can I do?', ' Is there more?', '')
YES = domain.says('user', 'Yes, please.', 'Yes.', 'Yes, go ahead.', 'Please do.',
                  'Yes, that is fine.')


def user(*variants: str) -> Beat:
  return domain.says('user', *variants)


def agent(*variants: str) -> Beat:
  return domain.says('assistant', *variants)


def report(*variants: str) -> Beat:
  """The agent's last words on a demand, with or without a question."""
  return agent(*(v + MORE[i % 4] for i, v in enumerate(variants * 2)))


def call(name: str, /, **arguments: Any) -> Beat:
  return domain.calls('assistant', name, **arguments)


def callers(state: State) -> list[str]:
  return [name for name, _ in state.rows('customers')]


def opening(state: State, caller: str) -> tuple[str, tuple[Beat, ...]]:
  del state
  return f'You are {caller}.', (
      agent('May I have your full name?', 'What is your full name?',
            'Sure. Your full name, please?', 'Who am I talking to?'),
      user(f'{caller}.', f'I am {caller}.', f'My name is {caller}.'),
      call('find_customer', name=caller))


def _pick(state: State, caller: str, rng: random.Random, *status: str
         ) -> tuple[str, Any] | None:
  """One of the caller's orders with that status that nothing was done to."""
  found = [(key, o) for key, o in state.rows('orders')
           if o['customer'] == caller and o['status'] in status
           and 'reshipped' not in o]
  return rng.choice(found) if found else None


def _age(order: Any) -> int:
  return shop.TODAY - order['day']


def _window(state: State, caller: str) -> int:
  return 30 if state.get('customers', caller)['tier'] == 'gold' else 14


def _ask(state: State, key: str, order: Any, rng: random.Random, id_: tuple[
    str, ...], thing: tuple[str, ...]) -> tuple[list[Beat], str, tuple]:
  """How the user asks (by id, or by what it is), what the scenario calls the
  order, and what the user must say."""
  what = f'{order["color"]} {order["item"]}'
  same = [k for k, o in state.rows('orders')
          if o['customer'] == order['customer']
          and o['item'] == order['item']]
  if rng.random() < 0.3 and same == [key]:
    beats = [user(*(v.format(o=what) for v in thing)),
             call('list_orders', name=order['customer']),
             call('get_order', order=key)]
    return beats, f'your {what}', (order['item'],)
  beats = [user(*(v.format(o=key) for v in id_)), call('get_order', order=key)]
  return beats, f'order {key}', (key,)


def cancel(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Cancel: pending only; otherwise say why not."""
  if rng.random() < 0.12:
    return _foreign(state, caller, rng)
  picked = _pick(state, caller, rng, 'pending', 'pending', 'shipped',
                 'delivered')
  if picked is None:
    return None
  key, o = picked
  beats, name, about = _ask(
      state, key, o, rng,
      ('I want to cancel order {o}.', 'Please cancel order {o}.',
       'Order {o} should be cancelled.', 'Can you cancel {o}?'),
      ('I want to cancel my {o}.', 'Please cancel the {o} I ordered.',
       'My {o} should be cancelled.'))
  goal = f'Cancel {name}.'
  if o['status'] != 'pending':
    word = 'shipped' if o['status'] == 'shipped' else 'delivered'
    beats.append(report(
        f'Order {key} was {word} already, so I cannot cancel it.',
        f'I am sorry, {key} was {word}, it cannot be cancelled.'))
    return Demand('cancel', goal, tuple(beats), about, (word,), 'refuse')
  price, paid = o['price'], o['paid']
  beats += [
      agent(f'I will cancel {key} and refund {price} EUR to your {paid}. Okay?',
            f'Cancel order {key}, {price} EUR back to {paid}. Is that right?',
            f'Shall I cancel {key}? You get {price} EUR on your {paid}.'),
      YES, call('cancel_order', order=key),
      report(f'Done, {key} is cancelled, {price} EUR go to your {paid}.',
             f'I cancelled {key}. You get {price} EUR back by {paid}.')]
  return Demand('cancel', goal, tuple(beats), about, (f'{price} eur',))


def _foreign(state: State, caller: str, rng: random.Random) -> Demand:
  """Somebody else's order: refuse."""
  key = rng.choice([k for k, o in state.rows('orders')
                    if o['customer'] != caller])
  return Demand('cancel', f'Cancel order {key}.', (
      user(f'I want to cancel order {key}.', f'Please cancel order {key}.',
           f'Order {key} should be cancelled.', f'Can you cancel {key}?'),
      call('get_order', order=key),
      report(f'I am sorry, {key} is not on your account.',
             f'Order {key} is not on your account, I cannot touch it.')),
                (key,), ('account',), 'refuse')


def give_back(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Return: delivered and in time; the customer chooses the refund."""
  picked = _pick(state, caller, rng, 'delivered')
  if picked is None:
    return None
  key, o = picked
  method = rng.choice(('card', 'credit'))
  beats, name, about = _ask(
      state, key, o, rng,
      ('I want to return order {o}.', 'I would like to send back {o}.',
       'Please take back order {o}.'),
      ('I want to return my {o}.', 'I would like to send back the {o}.',
       'Please take back my {o}.'))
  goal = f'Return {name}, refund to {method}.'
  if _age(o) > _window(state, caller):
    beats.append(report(
        f'Order {key} came {_age(o)} days ago, it is too late to return it.',
        f'I am sorry, it is too late to return {key}.'))
    return Demand('give_back', goal, tuple(beats), about, ('too late',),
                  'refuse')
  beats += [
      agent(f'I can take back {key}. Refund to card or credit?',
            f'You can return {key}. Do you want card or credit?'),
      user(f'To {method}, please.', f'{method}.', f'I prefer {method}.'),
      agent(f'So I take back {key} and refund {o["price"]} EUR to {method}. '
            'Okay?',
            f'Return {key}, {o["price"]} EUR to your {method}. Is that '
            'right?'),
      YES, call('return_order', order=key, refund=method),
      report(f'Done, {o["price"]} EUR for {key} go to your {method}.',
             f'The return of {key} is set, {o["price"]} EUR to {method}.')]
  return Demand('give_back', goal, tuple(beats), about,
                (f'{o["price"]} eur',))


def exchange(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Exchange the color; out of stock has a fallback; minds change."""
  picked = _pick(state, caller, rng, 'delivered')
  if picked is None:
    return None
  key, o = picked
  beats, name, about = _ask(
      state, key, o, rng,
      ('I want another color for order {o}.', 'Please exchange order {o}.',
       'Can I get {o} in another color?'),
      ('I want another color for my {o}.', 'Please exchange my {o}.',
       'Can I get my {o} in another color?'))
  if _age(o) > _window(state, caller):
    beats.append(report(
        f'Order {key} came {_age(o)} days ago, too late for an exchange.',
        f'I am sorry, it is too late to exchange {key}.'))
    color = rng.choice(shop.COLORS)
    return Demand('exchange', f'Exchange {name} for {color}.', tuple(beats),
                  about, ('too late',), 'refuse')
  stock = [c for c in state.get('products', o['item'])['stock']
           if c != o['color']]
  if not stock:
    return None
  want, other = rng.choice(stock), rng.choice(
      [c for c in shop.COLORS if c != o['color']])
  beats += [agent('Which color would you like?', 'What color do you want?',
                  f'Which color for {key}?'),
            _wish(want), call('get_product', item=o['item'])]
  goal, kind = f'Exchange {name} for {want}.', 'do'
  if other not in stock and rng.random() < 0.5:
    goal = f'Exchange {name} for {other}; if there is none, take {want}.'
    beats[-2] = _wish(other)
    beats += [agent(f'There is no {other} in stock. Another color?',
                    f'We have no {other}. Which other color?'),
              user(f'Then {want}.', f'{want} instead.', f'Take {want} then.')]
    kind = 'fallback'
  elif other in stock and other != want and rng.random() < 0.4:
    goal = (f'Exchange {name} for {other}; when asked to confirm, change to '
            f'{want}.')
    beats[-2] = _wish(other)
    beats += [_swap(key, other, o['item']),
              user(f'Wait, rather {want}.', f'No, make it {want}.',
                   f'I changed my mind, {want}.')]
  beats += [_swap(key, want, o['item']), YES,
            call('exchange_order', order=key, color=want),
            report(f'Done, a {want} {o["item"]} comes for {key}.',
                   f'Order {key} is exchanged for {want}.')]
  return Demand('exchange', goal, tuple(beats), (*about, want), (want,), kind)


def _wish(color: str) -> Beat:
  return user(f'{color}, please.', f'I want {color}.', f'In {color}.')


def _swap(key: str, color: str, item: str) -> Beat:
  return agent(f'I exchange {key} for a {color} {item}. Okay?',
               f'Order {key} in {color} instead. Is that right?',
               f'Shall I swap {key} for {color}?')


def move(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Another city: pending only."""
  picked = _pick(state, caller, rng, 'pending', 'shipped')
  if picked is None:
    return None
  key, o = picked
  city = rng.choice([c for c in shop.CITIES if c != o['city']])
  beats, name, about = _ask(
      state, key, o, rng,
      (f'Please send order {{o}} to {city}.', f'Can {{o}} go to {city}?',
       f'I moved, order {{o}} must go to {city}.'),
      (f'Please send my {{o}} to {city}.', f'Can my {{o}} go to {city}?',
       f'I moved, my {{o}} must go to {city}.'))
  goal = f'Send {name} to {city}.'
  if o['status'] == 'shipped':
    beats.append(report(
        f'Order {key} has shipped, the city cannot change.',
        f'I am sorry, {key} has shipped already.'))
    return Demand('move', goal, tuple(beats), (*about, city), ('shipped',),
                  'refuse')
  beats += [agent(f'I will send {key} to {city}. Okay?',
                  f'Order {key} goes to {city} now. Is that right?',
                  f'Shall I change {key} to {city}?'),
            YES, call('change_city', order=key, city=city),
            report(f'Done, {key} goes to {city}.',
                   f'The new city of {key} is {city}.')]
  return Demand('move', goal, tuple(beats), (*about, city), (city.lower(),))


def repay(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Another method of payment: pending, and credit must cover it."""
  picked = _pick(state, caller, rng, 'pending')
  if picked is None:
    return None
  key, o = picked
  method = 'credit' if o['paid'] == 'card' else 'card'
  beats, name, about = _ask(
      state, key, o, rng,
      (f'I want to pay order {{o}} by {method}.',
       f'Please charge {{o}} to my {method}.',
       f'Can I pay {{o}} by {method} instead?'),
      (f'I want to pay my {{o}} by {method}.',
       f'Please charge my {{o}} to {method}.'))
  goal = f'Pay {name} by {method}.'
  credit = state.get('customers', caller)['credit']
  if method == 'credit' and credit < o['price']:
    beats.append(report(
        f'You do not have enough credit for {key}, it costs {o["price"]} EUR.',
        f'I am sorry, there is not enough credit for {key}.'))
    return Demand('repay', goal, tuple(beats), (*about, method),
                  ('enough credit',), 'refuse')
  beats += [agent(f'I will charge {o["price"]} EUR for {key} to {method}. Okay?',
                  f'Order {key}, {o["price"]} EUR by {method}. Is that right?',
                  f'Shall I change {key} to {method}?'),
            YES, call('change_payment', order=key, method=method),
            report(f'Done, {key} is paid by {method}.',
                   f'You pay {key} by {method} now.')]
  return Demand('repay', goal, tuple(beats), (*about, method), (method,))


def parcel(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Where is it: on time, late (credit by tier), or lost (send again)."""
  picked = _pick(state, caller, rng, 'shipped')
  if picked is None:
    return None
  key, o = picked
  beats, name, about = _ask(
      state, key, o, rng,
      ('Where is my order {o}?', 'Order {o} has not come.',
       'I am waiting for order {o}.'),
      ('Where is my {o}?', 'My {o} has not come.', 'I am waiting for my {o}.'))
  goal, age = f'Complain that {name} has not come.', _age(o)
  if age <= 7:
    beats.append(report(
        f'Order {key} was shipped {age} days ago, it is on time.',
        f'Please wait, {key} is still on time.'))
    return Demand('parcel', goal, tuple(beats), about, ('on time',), 'refuse')
  if age <= 14:
    gold = state.get('customers', caller)['tier'] == 'gold'
    amount = 20 if gold else 10
    beats += [agent(f'Order {key} is late. I can give you {amount} EUR credit. '
                    'Okay?',
                    f'I am sorry that {key} is late. May I give you {amount} '
                    'EUR credit?'),
              YES, call('give_credit', name=caller, amount=amount),
              report(f'Done, you have {amount} EUR more credit.',
                     f'I gave you {amount} EUR credit for {key}.')]
    return Demand('parcel', goal, tuple(beats), about, (f'{amount} eur',))
  beats += [agent(f'Order {key} seems lost. Shall I send it again?',
                  f'I think {key} is lost. I can send it again, okay?'),
            YES, call('reship_order', order=key),
            report(f'Done, {key} is sent again.',
                   f'I have sent again order {key}.')]
  return Demand('parcel', goal, tuple(beats), about, ('again',))


def damaged(state: State, caller: str, rng: random.Random) -> Demand | None:
  """Damaged: a dear one goes to a human, a cheap one back to credit."""
  picked = _pick(state, caller, rng, 'delivered')
  if picked is None:
    return None
  key, o = picked
  beats, name, about = _ask(
      state, key, o, rng,
      ('Order {o} came damaged.', 'What I got in {o} is broken.',
       'Order {o} arrived broken.'),
      ('My {o} came damaged.', 'My {o} is broken.', 'My {o} arrived broken.'))
  goal = f'Report that {name} came damaged.'
  if o['price'] >= 50:
    beats += [call('transfer_to_human', reason='damaged'),
              agent(f'I hand you over to a colleague for {key}.',
                    'A colleague will take over for the damaged one.',
                    f'For {key} I transfer you to a colleague.')]
    return Demand('damaged', goal, tuple(beats), about, (), 'transfer')
  beats += [agent(f'I can take back {key} for {o["price"]} EUR credit. Okay?',
                  f'I am sorry. Shall I refund {o["price"]} EUR for {key} to '
                  'credit?'),
            YES, call('return_order', order=key, refund='credit'),
            report(f'Done, {o["price"]} EUR for {key} go to your credit.',
                   f'You get {o["price"]} EUR credit for {key}.')]
  return Demand('damaged', goal, tuple(beats), about, (f'{o["price"]} eur',))


FAMILIES = (cancel, give_back, exchange, move, repay, parcel, damaged)
