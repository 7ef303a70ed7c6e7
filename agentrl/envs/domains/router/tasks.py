"""What callers of the provider want, and how a good agent deals with it.

A family plays its exchange on the state while it writes it, by the rules of
policy.md: each decision follows from what a tool has shown.
"""

from __future__ import annotations

import random

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs.domains.router import state as database
from agentrl.envs.domains.router import steps
from agentrl.envs.domains.router import tools

ENTITY = r'\b[a-z]+[A-Z][a-z]+\b'


def callers(state: state_lib.State) -> list[str]:
  """Account ids."""
  return [account for account, _ in state.rows('accounts')]


def opening(state: state_lib.State,
            caller: str) -> tuple[str, tuple[types.Beat, ...]]:
  """What callers know of themselves, and how they are identified."""
  home = state.get('accounts', caller)
  name, pays = home['name'], 'pay' if home['pays'] else 'never pay'
  knows = (f'You are {name}. Your router is {home["router"]}. '
           f'You {pays} what is due.')
  return knows, (
      domain.says('assistant', 'May I have your full name?',
                  'Sure. What is your full name, please?',
                  'Who am I talking to?', 'Your first and last name, please?'),
      domain.says('user', f'{name}.', f'I am {name}.', f'My name is {name}.',
                  f'It is {name}.'),
      domain.calls('assistant', 'find_account', name=name))


def connection(state: state_lib.State, caller: str,
               rng: random.Random) -> domain.Demand | None:
  """Nothing works: account, line and router are looked at in turn."""
  talk = steps.start(state, caller)
  if not talk or tools.speed(state, talk.home['router']):
    return None
  if talk.changed('until'):  # who has just paused it knows why it is down
    return None
  day = rng.choice(talk.visit['free'])
  talk.wish('book_visit', account=caller, day=day)
  talk.user('connection')
  end = steps.blocked(talk) or steps.reopen(talk) or steps.mend_line(talk)
  while not end:
    end = steps.mend_router(talk, day)
    if not end and (speed := talk.send('run_speed_test')) != 'speed 0':
      talk.agent('online', speed=speed)
      end = 'do', (speed,)
  goal = ('Your internet is down. Do what helps. '
          f'Take a technician for day {day}, if one must come.')
  return talk.demand('connection', goal, end)


def slow(state: state_lib.State, caller: str,
         rng: random.Random) -> domain.Demand | None:
  """It works, but slowly: because of plan, line or wifi."""
  talk = steps.start(state, caller)
  if not talk or not tools.speed(state, talk.home['router']):
    return None
  if talk.changed('plan'):
    return None
  takes = rng.random() < 0.75
  talk.user('slow')
  measured = talk.send('run_speed_test')
  if measured == f'speed {database.SPEED[talk.home["plan"]]}':
    end = _upgrade(talk, takes)
  else:
    end = _find_slow(talk, measured, takes)
  goal = ('Your internet is slow. Do what helps. '
          f'You {"take" if takes else "do not want"} another plan.')
  return talk.demand('slow', goal, end)


def _find_slow(talk: steps.Script, measured: str, takes: bool) -> steps.End:
  """Line, then wifi, if it is slower than the plan."""
  steps.mend_line(talk)
  limit = talk.line['limit']
  if measured == f'speed {limit}':
    fits = next(p for p, s in database.SPEED.items() if s == limit)
    return _advise(talk, 'cheaper plan', fits, takes)
  steps.mend_wifi(talk)
  speed = talk.send('run_speed_test')
  talk.agent('faster', speed=speed)
  return 'do', (speed,)


def _upgrade(talk: steps.Script, takes: bool) -> steps.End:
  """The next plan, if the present one gives what it can."""
  plans = list(database.SPEED)
  if talk.home['plan'] == plans[-1]:
    talk.agent('fastest')
    return 'refuse', ('no plan is faster',)
  better = plans[plans.index(talk.home['plan']) + 1]
  return _advise(talk, 'better plan', better, takes)


def _advise(talk: steps.Script, phrase: str, better: str,
            takes: bool) -> steps.End:
  plan = talk.home['plan']
  talk.wish('change_plan', account=talk.account, plan=better)
  talk.agent(phrase, plan=plan, better=better)
  if not takes:
    talk.user('no')
    talk.agent('plan stays', plan=plan)
    return 'fallback', (plan, better)
  talk.user('takes', plan=better)
  if end := steps.settle(talk):
    return end
  talk.call('show_plans', account=talk.account)
  return steps.offer(talk, better)


def new_plan(state: state_lib.State, caller: str,
             rng: random.Random) -> domain.Demand | None:
  """Another plan, within contract and line; some think again."""
  talk = steps.start(state, caller)
  if not talk or talk.home['status'] in ('suspended', 'paused'):
    return None
  if talk.changed('plan'):
    return None
  want, other = rng.sample(
      [p for p in database.SPEED if p != talk.home['plan']], 2)
  prices = talk.home['prices']
  then = other if prices[other] < prices[want] and rng.random() < 0.5 else ''
  talk.wish('change_plan', account=caller, plan=want)
  talk.user('new_plan', want=want)
  end = steps.blocked(talk) or steps.settle(talk)
  if not end:
    talk.call('show_plans', account=caller)
    end = steps.offer(talk, want, then)
  if end[0] != 'do':  # and back: a state that shows nothing of it
    talk.wish('change_plan', account=caller, plan=talk.home['plan'])
  goal = f'Change your plan to {want}.'
  if then:
    goal += (f' Once you hear that it costs {prices[want]}, '
             f'take {then} instead.')
  return talk.demand('new_plan', goal, end, about=(want,))


def fee_back(state: state_lib.State, caller: str,
             rng: random.Random) -> domain.Demand | None:
  """A fee back: it depends on its kind, amount, credits and visits."""
  talk = steps.start(state, caller)
  mine = sorted(key for key, fee in state.rows('fees')
                if fee['account'] == caller and not fee['credited'])
  if not talk or not mine:
    return None
  key = rng.choice(mine)
  amount = state.get('fees', key)['amount']
  talk.wish('apply_credit', fee=key, amount=amount)
  talk.user('fee_back', amount=amount)
  end = steps.blocked(talk)
  if not end:
    talk.call('list_fees', account=caller)
    end = _judge_fee(talk, key)
  return talk.demand('fee_back', f'You want the fee of {amount} back.', end,
                     about=(str(amount),))


def _judge_fee(talk: steps.Script, key: str) -> steps.End:
  fee = talk.state.get('fees', key)
  if fee['amount'] > database.LARGEST_CREDIT:
    return steps.transfer(talk, 'billing', 'That is more than I may credit')
  match fee['kind']:
    case 'install':
      talk.agent('install')
      return 'refuse', ('install',)
    case 'late' if talk.home['credits']:
      talk.agent('late')
      return 'refuse', ('late', 'once')
    case 'visit':
      talk.call('show_visits', account=talk.account)
      if day := talk.visit['day']:
        talk.agent('visit', day=day)
        return 'refuse', (f'visit on day {day}',)
  talk.ask('credit', fee=key, amount=fee['amount'])
  talk.call('apply_credit', fee=key, amount=fee['amount'])
  talk.agent('credited', amount=fee['amount'])
  return 'do', ('credited', str(fee['amount']))


def move_visit(state: state_lib.State, caller: str,
               rng: random.Random) -> domain.Demand | None:
  """Another day for the technician, who may be due tomorrow, or busy."""
  talk = steps.start(state, caller)
  if not talk or not talk.visit['day'] or len(talk.visit['free']) < 2:
    return None
  day, second = rng.sample(talk.visit['free'], 2)
  if rng.random() < 0.2:
    day = rng.choice([d for d in database.VISIT_DAYS
                      if d not in talk.visit['free']])
  otherwise = rng.choice((f'take day {second}', 'cancel it', 'keep it'))
  talk.wish('book_visit', account=caller, day=day)
  talk.user('move_visit', day=day)
  end = steps.blocked(talk)
  if not end:
    talk.call('show_visits', account=caller)
    end = _move(talk, day, otherwise)
  goal = (f'Move your technician visit to day {day}. '
          f'If that day is not free, {otherwise}.')
  return talk.demand('move_visit', goal, end, about=(f'day {day}',))


def _move(talk: steps.Script, day: int, otherwise: str) -> steps.End:
  now = talk.visit['day']
  if now == database.TODAY + 1:
    talk.agent('too late', day=now)
    return 'refuse', ('too late', f'day {now}')
  if day in talk.visit['free']:
    talk.ask('move visit', day=day)
    return steps.book(talk, day)
  talk.agent('taken', day=day, free=talk.free_days)
  talk.user('otherwise', otherwise=otherwise)
  match otherwise.split():
    case ['keep', _]:
      talk.wish('cancel_visit', account=talk.account)
      talk.agent('visit stays', day=now)
      return 'fallback', (f'day {now}',)
    case ['cancel', _]:
      talk.call('cancel_visit', account=talk.account)
      talk.agent('visit cancelled')
      return 'fallback', ('cancelled',)
    case [*_, second]:
      return 'fallback', steps.book(talk, int(second))[1]


def pause(state: state_lib.State, caller: str,
          rng: random.Random) -> domain.Demand | None:
  """A pause: nothing due, no visit in the way, not for too long."""
  talk = steps.start(state, caller)
  if not talk or talk.home['status'] not in ('active', 'blocked'):
    return None
  until, agrees = rng.randrange(25, 70), rng.random() < 0.7
  talk.wish('pause_service', account=caller, until=until)
  talk.user('pause', until=until)
  end = steps.blocked(talk) or steps.settle(talk) or _pause(talk, until, agrees)
  goal = (f'Pause your internet until day {until}. '
          f'You {"agree" if agrees else "do not agree"} to a shorter pause '
          'or to lose a visit.')
  return talk.demand('pause', goal, end, about=(f'day {until}',))


def _pause(talk: steps.Script, until: int, agrees: bool) -> steps.End:
  talk.call('show_visits', account=talk.account)
  last, booked = min(until, database.LONGEST_PAUSE), talk.visit['day']
  how = f'until day {last}' if last == until else f'only until day {last}'
  if booked:
    how += f' and cancel the visit on day {booked}'
  talk.agent('pause', how=how)
  changed = booked or last < until
  if changed and not agrees:
    talk.wish('resume_service', account=talk.account)  # as if never paused
    talk.user('no')
    talk.agent('unchanged')
    return 'refuse', ('nothing is changed', f'day {last}')
  talk.user('yes')
  if booked:
    talk.call('cancel_visit', account=talk.account)
  talk.call('pause_service', account=talk.account, until=last)
  talk.agent('paused', until=last)
  return 'fallback' if last < until else 'do', ('paused', f'day {last}')


def pay(state: state_lib.State, caller: str,
        rng: random.Random) -> domain.Demand | None:
  """What is due is paid, if anything is."""
  talk = steps.start(state, caller)
  # Callers who owe nothing seldom ask.
  owes = talk and (talk.home['due'] or rng.random() < 0.05)
  if not owes or not talk.home['pays']:
    return None
  due = talk.home['due']
  talk.user('pay')
  end = steps.blocked(talk) or steps.settle(talk)
  if not end and due:
    talk.agent('paid', due=due)
    end = 'do', (f'{due} is paid',)
  elif not end:
    talk.agent('nothing due')
    end = 'refuse', ('nothing is due',)
  return talk.demand('pay', 'Pay your bill, if there is any.', end)


def move_house(state: state_lib.State, caller: str,
               rng: random.Random) -> domain.Demand | None:
  """The service moves along once nothing is due; a hurry needs a human."""
  talk = steps.start(state, caller)
  if not talk or talk.home['moves']:
    return None
  day = rng.choice(database.VISIT_DAYS)
  talk.wish('move_service', account=caller, day=day)
  talk.user('move_house', day=day)
  end = steps.blocked(talk) or steps.settle(talk)
  if not end and day < database.EARLIEST_MOVE:
    end = steps.transfer(talk, 'moving', f'Day {day} is very soon')
  elif not end:
    talk.ask('move house', day=day)
    talk.call('move_service', account=caller, day=day)
    talk.agent('moves', day=day)
    end = 'do', ('move', f'day {day}')
  return talk.demand(
      'move_house', f'You move on day {day} and take your internet along.', end,
      about=(f'day {day}',))


FAMILIES = (connection, slow, new_plan, fee_back, move_visit, pause, pay,
            move_house)
