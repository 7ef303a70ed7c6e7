"""Drafts demands of the provider's callers, and how a good agent meets them.

A family plays its exchange on the state while writing it, by the rules of
policy.md: each decision follows from the result of a tool.
"""

from __future__ import annotations

import random

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs.domains.router import scripts
from agentrl.envs.domains.router import state as database
from agentrl.envs.domains.router import tools

Script, Ending = scripts.AccountScript, scripts.Ending
ENTITY = r'\b[a-z]+[A-Z][a-z]+\b'


def callers(state: state_lib.State) -> list[str]:
  """Returns the ids of all accounts."""
  return [account for account, _ in state.rows('accounts')]


def opening(state: state_lib.State,
            caller: str) -> tuple[str, tuple[types.Beat, ...]]:
  """Returns what callers know about themselves, and their identification."""
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
  """Drafts a dead connection: checks account, line and router in turn."""
  script = scripts.start(state, caller)
  if not script or tools.speed(state, script.home['router']):
    return None
  if script.changed('until'):  # the caller has just paused it
    return None
  day = rng.choice(script.visit['free'])
  script.forbid('book_visit', account=caller, day=day)
  script.user('connection')
  end = (scripts.blocked(script) or scripts.reopen(script)
         or scripts.mend_line(script))
  while not end:
    end = scripts.mend_router(script, day)
    if not end and (speed := script.send('run_speed_test')) != 'speed 0':
      script.agent('online', speed=speed)
      end = Ending('do', (speed,))
  goal = ('Your internet is down. Do what helps. '
          f'Take a technician for day {day}, if one must come.')
  return script.demand('connection', goal, end)


def slow(state: state_lib.State, caller: str,
         rng: random.Random) -> domain.Demand | None:
  """Drafts a slow connection: because of plan, line or wifi."""
  script = scripts.start(state, caller)
  if not script or not tools.speed(state, script.home['router']):
    return None
  if script.changed('plan'):
    return None
  takes = rng.random() < 0.75
  script.user('slow')
  measured = script.send('run_speed_test')
  if measured == f'speed {database.SPEED[script.home["plan"]]}':
    end = _upgrade(script, takes)
  else:
    end = _find_slow(script, measured, takes)
  goal = ('Your internet is slow. Do what helps. '
          f'You {"take" if takes else "do not want"} another plan.')
  return script.demand('slow', goal, end)


def _find_slow(script: Script, measured: str, takes: bool) -> Ending:
  """Checks line, then wifi, as it is slower than the plan."""
  scripts.mend_line(script)
  limit = script.line['limit']
  if measured == f'speed {limit}':
    fits = next(p for p, s in database.SPEED.items() if s == limit)
    return _advise(script, 'cheaper plan', fits, takes)
  scripts.mend_wifi(script)
  speed = script.send('run_speed_test')
  script.agent('faster', speed=speed)
  return Ending('do', (speed,))


def _upgrade(script: Script, takes: bool) -> Ending:
  """Advises the next plan, as the present one is at its limit."""
  plans = list(database.SPEED)
  if script.home['plan'] == plans[-1]:
    script.agent('fastest')
    return Ending('refuse', ('no plan is faster',))
  better = plans[plans.index(script.home['plan']) + 1]
  return _advise(script, 'better plan', better, takes)


def _advise(script: Script, phrase: str, better: str,
            takes: bool) -> Ending:
  """Advises a better plan, which the caller takes or not."""
  plan = script.home['plan']
  script.forbid('change_plan', account=script.account, plan=better)
  script.agent(phrase, plan=plan, better=better)
  if not takes:
    script.user('no')
    script.agent('plan stays', plan=plan)
    return Ending('fallback', (plan, better))
  script.user('takes', plan=better)
  if end := scripts.settle(script):
    return end
  script.call('show_plans', account=script.account)
  return scripts.offer(script, better)


def new_plan(state: state_lib.State, caller: str,
             rng: random.Random) -> domain.Demand | None:
  """Drafts a change of plan; some callers change their mind at the price."""
  script = scripts.start(state, caller)
  if not script or script.home['status'] in ('suspended', 'paused'):
    return None
  if script.changed('plan'):
    return None
  want, other = rng.sample(
      [p for p in database.SPEED if p != script.home['plan']], 2)
  prices = script.home['prices']
  then = other if prices[other] < prices[want] and rng.random() < 0.5 else ''
  script.forbid('change_plan', account=caller, plan=want)
  script.user('new_plan', want=want)
  end = scripts.blocked(script) or scripts.settle(script)
  if not end:
    script.call('show_plans', account=caller)
    end = scripts.offer(script, want, then)
  if end.kind != 'do':  # and back: the final state would not show it
    script.forbid('change_plan', account=caller, plan=script.home['plan'])
  goal = f'Change your plan to {want}.'
  if then:
    goal += (f' Once you hear that it costs {prices[want]}, '
             f'take {then} instead.')
  return script.demand('new_plan', goal, end, about=(want,))


def fee_back(state: state_lib.State, caller: str,
             rng: random.Random) -> domain.Demand | None:
  """Drafts a refund of a fee, by its kind, amount, credits and visits."""
  script = scripts.start(state, caller)
  mine = sorted(key for key, fee in state.rows('fees')
                if fee['account'] == caller and not fee['credited'])
  if not script or not mine:
    return None
  key = rng.choice(mine)
  amount = state.get('fees', key)['amount']
  script.forbid('apply_credit', fee=key, amount=amount)
  script.user('fee_back', amount=amount)
  end = scripts.blocked(script)
  if not end:
    script.call('list_fees', account=caller)
    end = _decide_fee(script, key)
  return script.demand('fee_back', f'You want the fee of {amount} back.', end,
                       about=(str(amount),))


def _decide_fee(script: Script, key: str) -> Ending:
  """Credits a fee, or refuses to."""
  fee = script.state.get('fees', key)
  if fee['amount'] > database.LARGEST_CREDIT:
    return scripts.transfer(script, 'billing', 'That is more than I may credit')
  match fee['kind']:
    case 'install':
      script.agent('install')
      return Ending('refuse', ('install',))
    case 'late' if script.home['credits']:
      script.agent('late')
      return Ending('refuse', ('late', 'once'))
    case 'visit':
      script.call('show_visits', account=script.account)
      if day := script.visit['day']:
        script.agent('visit', day=day)
        return Ending('refuse', (f'visit on day {day}',))
  script.ask('credit', fee=key, amount=fee['amount'])
  script.call('apply_credit', fee=key, amount=fee['amount'])
  script.agent('credited', amount=fee['amount'])
  return Ending('do', ('credited', str(fee['amount'])))


def move_visit(state: state_lib.State, caller: str,
               rng: random.Random) -> domain.Demand | None:
  """Drafts another day for the visit, which may be too soon or taken."""
  script = scripts.start(state, caller)
  if not script or not script.visit['day'] or len(script.visit['free']) < 2:
    return None
  day, second = rng.sample(script.visit['free'], 2)
  if rng.random() < 0.2:
    day = rng.choice([d for d in database.VISIT_DAYS
                      if d not in script.visit['free']])
  otherwise = rng.choice((f'take day {second}', 'cancel it', 'keep it'))
  script.forbid('book_visit', account=caller, day=day)
  script.user('move_visit', day=day)
  end = scripts.blocked(script)
  if not end:
    script.call('show_visits', account=caller)
    end = _move(script, day, otherwise)
  goal = (f'Move your technician visit to day {day}. '
          f'If that day is not free, {otherwise}.')
  return script.demand('move_visit', goal, end, about=(f'day {day}',))


def _move(script: Script, day: int, otherwise: str) -> Ending:
  """Moves the visit, or does what the caller wants otherwise."""
  now = script.visit['day']
  if now == database.TODAY + 1:
    script.agent('too late', day=now)
    return Ending('refuse', ('too late', f'day {now}'))
  if day in script.visit['free']:
    script.ask('move visit', day=day)
    return scripts.book(script, day)
  script.agent('taken', day=day, free=script.free_days)
  script.user('otherwise', otherwise=otherwise)
  match otherwise.split():
    case ['keep', _]:
      script.forbid('cancel_visit', account=script.account)
      script.agent('visit stays', day=now)
      return Ending('fallback', (f'day {now}',))
    case ['cancel', _]:
      script.call('cancel_visit', account=script.account)
      script.agent('visit cancelled')
      return Ending('fallback', ('cancelled',))
    case [*_, second]:
      return Ending('fallback', scripts.book(script, int(second)).tell)


def pause(state: state_lib.State, caller: str,
          rng: random.Random) -> domain.Demand | None:
  """Drafts a pause: after the bill, without a visit, of limited length."""
  script = scripts.start(state, caller)
  if not script or script.home['status'] not in ('active', 'blocked'):
    return None
  until, agrees = rng.randrange(25, 70), rng.random() < 0.7
  script.forbid('pause_service', account=caller, until=until)
  script.user('pause', until=until)
  end = (scripts.blocked(script) or scripts.settle(script)
         or _pause(script, until, agrees))
  goal = (f'Pause your internet until day {until}. '
          f'You {"agree" if agrees else "do not agree"} to a shorter pause '
          'or to lose a visit.')
  return script.demand('pause', goal, end, about=(f'day {until}',))


def _pause(script: Script, until: int, agrees: bool) -> Ending:
  """Pauses the service; changes to the wish need the caller's consent."""
  script.call('show_visits', account=script.account)
  last, booked = min(until, database.LONGEST_PAUSE), script.visit['day']
  how = f'until day {last}' if last == until else f'only until day {last}'
  if booked:
    how += f' and cancel the visit on day {booked}'
  script.agent('pause', how=how)
  changed = booked or last < until
  if changed and not agrees:
    # A pause undone: the final state would not show it.
    script.forbid('resume_service', account=script.account)
    script.user('no')
    script.agent('unchanged')
    return Ending('refuse', ('nothing is changed', f'day {last}'))
  script.user('yes')
  if booked:
    script.call('cancel_visit', account=script.account)
  script.call('pause_service', account=script.account, until=last)
  script.agent('paused', until=last)
  return Ending('fallback' if last < until else 'do',
                ('paused', f'day {last}'))


def pay(state: state_lib.State, caller: str,
        rng: random.Random) -> domain.Demand | None:
  """Drafts the payment of a bill, if there is one."""
  script = scripts.start(state, caller)
  # Callers who owe nothing seldom ask.
  owes = script and (script.home['due'] or rng.random() < 0.05)
  if not owes or not script.home['pays']:
    return None
  due = script.home['due']
  script.user('pay')
  end = scripts.blocked(script) or scripts.settle(script)
  if not end and due:
    script.agent('paid', due=due)
    end = Ending('do', (f'{due} is paid',))
  elif not end:
    script.agent('nothing due')
    end = Ending('refuse', ('nothing is due',))
  return script.demand('pay', 'Pay your bill, if there is any.', end)


def move_house(state: state_lib.State, caller: str,
               rng: random.Random) -> domain.Demand | None:
  """Drafts a move: after the bill; an early one goes to a human."""
  script = scripts.start(state, caller)
  if not script or script.home['moves']:
    return None
  day = rng.choice(database.VISIT_DAYS)
  script.forbid('move_service', account=caller, day=day)
  script.user('move_house', day=day)
  end = scripts.blocked(script) or scripts.settle(script)
  if not end and day < database.EARLIEST_MOVE:
    end = scripts.transfer(script, 'moving', f'Day {day} is very soon')
  elif not end:
    script.ask('move house', day=day)
    script.call('move_service', account=caller, day=day)
    script.agent('moves', day=day)
    end = Ending('do', ('move', f'day {day}'))
  return script.demand(
      'move_house', f'You move on day {day} and take your internet along.', end,
      about=(f'day {day}',))


FAMILIES = (connection, slow, new_plan, fee_back, move_visit, pause, pay,
            move_house)
