"""What callers of the provider want, and how a good agent deals with it.

A family plays its exchange on the state while it writes it, by the rules of
policy.md: each decision follows from what a tool has shown. Steps that
families share return how the demand ended, or None if it goes on.
"""

from __future__ import annotations

import random
from typing import Any

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools as tools_lib
from agentrl.envs.domains.router import state as database
from agentrl.envs.domains.router import tools

ENTITY = r'\b[a-z]+-[a-z]+\b'
LONGEST_PAUSE = 60  # day
_TOOLS = {'assistant': tools_lib.table(tools.AGENT),
          'user': tools_lib.table(tools.USER)}

End = tuple[str, tuple[str, ...]]  # kind, and the facts to tell


def callers(state: state_lib.State) -> list[str]:
  return [account for account, _ in state.rows('accounts')]


def opening(state: state_lib.State,
            caller: str) -> tuple[str, tuple[domain.Beat, ...]]:
  """What callers know of themselves, and how they are identified."""
  home = state.get('accounts', caller)
  name = home['name']
  return f'You are {name}. Your router is {home["router"]}.', (
      domain.says('assistant', 'May I have your full name?',
                  'Sure. What is your full name, please?',
                  'Who am I talking to?', 'Your first and last name, please?'),
      domain.says('user', f'{name}.', f'I am {name}.', f'My name is {name}.',
                  f'It is {name}.'),
      domain.calls('assistant', 'find_account', customer=name))


class Script:
  """An exchange that is played on the state while it is written."""

  def __init__(self, state: state_lib.State, caller: str):
    self.state, self.account = state, caller
    self._before, self._beats = state.mark(), []

  @property
  def home(self) -> state_lib.Record:
    return self.state.get('accounts', self.account)

  @property
  def line(self) -> state_lib.Record:
    return self.state.get('lines', self.account)

  @property
  def device(self) -> state_lib.Record:
    return self.state.get('devices', self.home['router'])

  @property
  def visit(self) -> state_lib.Record:
    return self.state.get('visits', self.account)

  def user(self, *variants: str) -> None:
    self._beats.append(domain.says('user', *variants))

  def agent(self, *variants: str) -> None:
    self._beats.append(domain.says('assistant', *variants))

  def call(self, name: str, by: types.Side = 'assistant', **kw: Any) -> str:
    """A call and what it shows; the script must not make one that fails."""
    result = tools_lib.call(_TOOLS[by], self.state, types.ToolCall(
        name, kw, requestor=by))
    if result.error:
      raise ValueError(f'The script calls {name}({kw}): {result.content}')
    self._beats.append(domain.calls(by, name, **kw))
    return result.content

  def ask(self, *variants: str) -> None:
    """The agent asks for leave and gets it."""
    self.agent(*variants)
    self.user('Yes, please.', 'Yes, go ahead.', 'Yes.', 'Please do.')

  def send(self, tool: str, *variants: str, **kw: Any) -> str:
    """The agent has the caller do something, who says what it showed."""
    self.agent(*variants)
    shown = self.call(tool, 'user', router=self.home['router'], **kw)
    self.user(f'{shown}.', f'It shows {shown}.', f'I see {shown}.')
    return shown

  def demand(self, family: str, goal: str, end: End,
             about: tuple[str, ...] = ()) -> domain.Demand:
    """The finished demand; the state is as it was before the script."""
    self.state.rewind(self._before)
    kind, tell = end
    return domain.Demand(family, goal, tuple(self._beats), about, tell, kind)


def _start(state: state_lib.State, caller: str) -> Script | None:
  """A script, unless the caller has been handed over to a human."""
  handed = state.get('desk', 'call')['transfer']
  return None if handed else Script(state, caller)


# Steps that families share.


def _transfer(talk: Script, reason: str, why: str) -> End:
  talk.call('transfer_to_human', reason=reason)
  talk.agent(f'{why}. I hand you over to a human.',
             f'{why}, so a human takes over now.',
             f'{why}. A human will go on with you.')
  return 'transfer', ('human',)


def _blocked(talk: Script) -> End | None:
  if talk.home['status'] == 'blocked':
    return _transfer(talk, 'abuse', 'Your account is blocked')
  return None


def _settle(talk: Script, pays: bool) -> End | None:
  """Has the caller pay what is due, if anything is."""
  due, account = talk.home['due'], talk.account
  if not due:
    return None
  if talk.home['card'] == 'expired':
    return _transfer(talk, 'card', f'{due} is due and your card is expired')
  talk.agent(f'First {due} is due on {account}. May I charge your card?',
             f'There is {due} due on {account}. Shall I charge your card?',
             f'I must charge {due} for {account} first. Is that fine?')
  if not pays:
    talk.user('No, not today.', 'No, I will not pay now.', 'Not now, no.')
    talk.agent(f'Then I can do nothing while {due} is due, sorry.',
               f'Sorry, not as long as {due} is due.',
               f'I am sorry, {due} is due before I can go on.')
    return 'refuse', (f'{due} is due',)
  talk.user('Yes, please.', 'Yes, I will pay.', 'Fine, charge it.')
  talk.call('pay_bill', account=account, amount=due)
  if talk.home['status'] == 'suspended':
    talk.call('resume_service', account=account)
  return None


def _reopen(talk: Script, pays: bool) -> End | None:
  """Makes an account active that is not; what is due comes first."""
  account = talk.account
  if talk.home['status'] == 'active':
    return None
  if end := _settle(talk, pays):
    return end
  if talk.home['status'] == 'paused':
    talk.ask(f'{account} is paused. Shall I resume it?',
             f'You have paused {account}. May I resume it now?',
             f'The service of {account} is paused. Resume it?')
    talk.call('resume_service', account=account)
  return None


def _mend_line(talk: Script) -> End | None:
  account, line = talk.account, talk.line
  talk.call('line_status', account=account)
  if line['area'] == 'outage':
    back = line['back']
    talk.agent(f'There is an outage in your area until day {back}, sorry.',
               f'Sorry, your area has an outage. It ends on day {back}.',
               f'It is an outage. All will work again on day {back}.')
    return 'refuse', ('outage', f'day {back}')
  if line['signal'] != 'ok':
    signal = line['signal']
    talk.ask(f'The signal of {account} is {signal}. May I reset the line?',
             f'Your signal is {signal}. Shall I reset the line {account}?',
             f'I should reset the line {account}, it is {signal}. Is it fine?')
    talk.call('reset_line', account=account)
  return None


def _technician(talk: Script, day: int, what: str) -> End:
  talk.call('show_visits', account=talk.account)
  if booked := talk.visit['day']:
    talk.agent(f'The {what}. Your technician comes on day {booked} anyway.',
               f'The {what}, and a technician is booked for day {booked}.')
    return 'do', (f'day {booked}',)
  free = ', '.join(map(str, talk.visit['free']))
  talk.agent(
      f'The {what}. A technician for {talk.account}: day {free}. Which day?',
      f'The {what}. Shall I send one to {talk.account} on day {free}?')
  talk.user(f'Day {day}, please.', f'Day {day} is good.', f'On day {day}.')
  talk.call('book_visit', account=talk.account, day=day)
  talk.agent(f'Booked: a technician comes on day {day}.',
             f'Done, the technician visits you on day {day}.',
             f'A technician will be there on day {day}.')
  return 'do', (f'day {day}',)


def _mend_router(talk: Script, day: int) -> End | None:
  shown = talk.send('look_at_lights', 'What do the lights show?',
                    'Please look at the lights of your router.',
                    'Which lights are on?')
  if shown == 'power off, line off':
    talk.send('press_power', 'Please press the power switch.',
              'Please switch the power on.')
  elif shown == 'power green, line off':
    cable = talk.send('check_cable', 'Please check the cable.',
                      'How is the cable?', 'Can you look at the cable?')
    if cable == 'cable torn':
      return _technician(talk, day, 'cable is torn')
    talk.send('replug_cable', 'Please plug the cable in.',
              'Please put the cable back in.')
  elif shown == 'power green, line red':
    shown = talk.send('reboot_router', 'Please reboot the router.',
                      'Please restart your router.')
    if shown == 'power green, line red':
      return _technician(talk, day, 'router is broken')
  else:
    _mend_wifi(talk)
  return None


def _mend_wifi(talk: Script) -> None:
  talk.send('check_wifi', 'Please check the wifi.', 'How is your wifi set?',
            'Please look at the wifi settings.')
  device = talk.device
  if device['wifi'] == 'off':
    talk.send('press_wifi', 'Please press the wifi button.',
              'Please switch the wifi on.')
  if device['airplane'] == 'on':
    talk.send('toggle_airplane', 'Please switch airplane mode off.',
              'Please leave airplane mode.')
  if device['channel'] in device['busy']:
    free = next(c for c in database.CHANNELS if c not in device['busy'])
    talk.send('set_wifi_channel', f'Please set channel {free}.',
              f'Your channel is busy. Please take channel {free}.',
              channel=free)


def _test_speed(talk: Script) -> str:
  return talk.send('run_speed_test', 'Please run a speed test.',
                   'What does a speed test show?', 'Please test the speed.')


def _offer(talk: Script, plan: str, then: str = '') -> End:
  """Offers a plan, and `then` another one if the caller thinks again."""
  account = talk.account
  if database.SPEED[plan] > talk.line['limit']:
    limit = talk.line['limit']
    talk.agent(f'Sorry, {plan} is too fast: the limit of your line is {limit}.',
               f'I cannot: the limit of your line is {limit}, sorry.',
               f'Your line has a limit of {limit}. The limit rules it out.')
    return 'refuse', ('limit', str(limit))
  slower = database.SPEED[plan] < database.SPEED[talk.home['plan']]
  if slower and (until := talk.home['contract']) > database.TODAY:
    talk.agent(f'Sorry, your contract allows nothing slower until day {until}.',
               f'Your contract holds until day {until}, so I cannot.',
               f'Not before day {until}, because of your contract.')
    return 'refuse', ('contract', f'day {until}')
  price = talk.home['prices'][plan]
  talk.agent(f'{plan} costs {price}. Shall I change {account}?',
             f'That is {price} for {plan}. May I change {account}?',
             f'Shall I move {account} to {plan} for {price}?')
  if then:
    talk.user(f'Too much. Then {then}.', f'Oh, no. {then} instead, please.',
              f'No, I would rather have {then}.')
    return _offer(talk, then)
  talk.user('Yes, please.', 'Yes, do it.', 'That is fine, yes.')
  talk.call('change_plan', account=account, plan=plan)
  talk.agent(f'Done, you have {plan} for {price} now.',
             f'Your plan is {plan} now, it costs {price}.')
  return 'do', (plan,)


# Families.


def connection(state: state_lib.State, caller: str,
               rng: random.Random) -> domain.Demand | None:
  """Nothing works: account, line and router are looked at in turn."""
  talk = _start(state, caller)
  if not talk or tools.speed(state, talk.home['router']):
    return None
  pays, day = rng.random() < 0.75, rng.choice(talk.visit['free'])
  talk.user('My internet is down.', 'I have no internet.', 'I am offline.',
            'Nothing loads, the internet is gone.')
  end = (_blocked(talk) or _reopen(talk, pays)
         or _mend_line(talk) or _mend_router(talk, day))
  if not end:
    speed = _test_speed(talk)
    talk.agent(f'Good, {speed}: all works again.', f'With {speed} it is mended.',
               f'{speed} is fine. You are online again.')
    end = 'do', (speed,)
  goal = ('Your internet is down. Do what helps. '
          f'You {"pay" if pays else "do not pay"} if asked. '
          f'A technician may come on day {day}.')
  return talk.demand('connection', goal, end)


def slow(state: state_lib.State, caller: str,
         rng: random.Random) -> domain.Demand | None:
  """It works, but slowly: line, wifi, or the plan."""
  talk = _start(state, caller)
  if not talk or not tools.speed(state, talk.home['router']):
    return None
  faster, pays = rng.random() < 0.6, rng.random() < 0.75
  talk.user('My internet is slow.', 'Everything loads so slowly.',
            'Why is my internet this slow?')
  speed = _test_speed(talk)
  full = f'speed {database.SPEED[talk.home["plan"]]}'
  if speed == full:
    end = _upgrade(talk, faster, pays)
  else:
    end = _mend_line(talk)
    _mend_wifi(talk)
    now = _test_speed(talk)
    talk.agent(f'Your line gives {now} now.', f'It is {now} now.',
               f'Now you have {now}, as it should be.')
    end = 'do', (now,)
  goal = ('Your internet is slow. Do what helps. '
          f'You {"take" if faster else "do not want"} a faster plan '
          f'and {"pay" if pays else "do not pay"} what is due if asked.')
  return talk.demand('slow', goal, end)


def _upgrade(talk: Script, faster: bool, pays: bool) -> End:
  plan = talk.home['plan']
  plans = list(database.SPEED)
  if plan == plans[-1]:
    talk.agent('That is all that max gives; no plan is faster.',
               'You have max already: no plan is faster, sorry.')
    return 'refuse', ('no plan is faster',)
  better = plans[plans.index(plan) + 1]
  talk.agent(f'That is all that {plan} gives. Do you want {better}?',
             f'Your plan gives no more. Would you take {better}?')
  if not faster:
    talk.user('No, thanks.', 'No, I keep my plan.')
    talk.agent(f'Fine, you keep {plan} then.', f'All right, {plan} it stays.')
    return 'fallback', (plan, better)
  talk.user(f'Yes, {better} please.', f'Yes, I take {better}.')
  if end := _settle(talk, pays):
    return end
  talk.call('show_plans', account=talk.account)
  return _offer(talk, better)


def plan(state: state_lib.State, caller: str,
         rng: random.Random) -> domain.Demand | None:
  """Another plan, within contract and line; some think again."""
  talk = _start(state, caller)
  if not talk or talk.home['status'] in ('suspended', 'paused'):
    return None
  want, other = rng.sample(
      [p for p in database.SPEED if p != talk.home['plan']], 2)
  price, pays = talk.home['prices'][want], rng.random() < 0.75
  then = other if rng.random() < 0.3 else ''
  talk.user(f'I want the {want} plan.', f'Please change my plan to {want}.',
            f'Can I have {want} from now on?')
  end = _blocked(talk) or _settle(talk, pays)
  if not end:
    talk.call('show_plans', account=caller)
    end = _offer(talk, want, then)
  goal = (f'Change your plan to {want}. You '
          f'{"pay" if pays else "do not pay"} what is due if asked.')
  if then:
    goal += f' Once you hear that it costs {price}, take {then} instead.'
  return talk.demand('plan', goal, end, about=(want,))


def fee(state: state_lib.State, caller: str,
        rng: random.Random) -> domain.Demand | None:
  """A fee back: it depends on its kind and on earlier credits."""
  talk = _start(state, caller)
  mine = {k: f for k, f in state.rows('fees')
          if f['account'] == caller and not f['credited']}
  if not talk or not mine:
    return None
  key = rng.choice(sorted(mine))
  kind, amount = mine[key]['kind'], mine[key]['amount']
  talk.user(f'I want the fee of {amount} back.',
            f'Why did I pay a fee of {amount}? I want it back.',
            f'Please give me back the fee of {amount}.')
  end = _blocked(talk)
  if not end:
    talk.call('list_fees', account=caller)
    end = _refund(talk, key, kind, amount)
  return talk.demand('fee', f'You want the fee of {amount} back.', end,
                     about=(str(amount),))


def _refund(talk: Script, key: str, kind: str, amount: int) -> End:
  if kind == 'install':
    talk.agent('Sorry, an install fee is never given back.',
               'That is the install fee, which stays, sorry.')
    return 'refuse', ('install',)
  if kind == 'visit':
    return _transfer(talk, 'billing', 'That was for a visit')
  if kind == 'late' and talk.home['credits']:
    talk.agent('Sorry, a late fee is given back only once.',
               'A late fee comes back once only, and you had yours.')
    return 'refuse', ('late', 'once')
  talk.ask(f'Shall I credit {amount} for {key}?',
           f'I can credit {key}, that is {amount}. Do you agree?',
           f'May I give back {amount} for the fee {key}?')
  talk.call('apply_credit', fee=key, amount=amount)
  talk.agent(f'Done, {amount} is credited.', f'You have {amount} back.',
             f'I have credited {amount}.')
  return 'do', (str(amount),)


def visit(state: state_lib.State, caller: str,
          rng: random.Random) -> domain.Demand | None:
  """Another day for the technician, who may be due tomorrow, or busy."""
  talk = _start(state, caller)
  if not talk or not talk.visit['day'] or len(talk.visit['free']) < 2:
    return None
  day, second = rng.sample(talk.visit['free'], 2)
  if rng.random() < 0.4:
    day = rng.choice([d for d in range(30, 60) if d not in talk.visit['free']])
  otherwise = rng.choice((f'take day {second}', 'cancel it', 'keep it'))
  talk.user(f'Please move my technician to day {day}.',
            f'Can the technician come on day {day} instead?',
            f'I need my visit on day {day}.')
  end = _blocked(talk)
  if not end:
    talk.call('show_visits', account=caller)
    end = _move(talk, day, otherwise)
  goal = (f'Move your technician visit to day {day}. '
          f'If that day is not free, {otherwise}.')
  return talk.demand('visit', goal, end, about=(f'day {day}',))


def _move(talk: Script, day: int, otherwise: str) -> End:
  account, now = talk.account, talk.visit['day']
  if now == database.TODAY + 1:
    talk.agent(f'Sorry, it is too late: the visit is on day {now}.',
               f'Day {now} is tomorrow, that is too late to move.')
    return 'refuse', ('too late', f'day {now}')
  free, kind = talk.visit['free'], 'do'
  if day in free:
    talk.ask(f'Day {day} is free. Shall I move {account} to it?',
             f'I can move {account} to day {day}. Do you agree?')
  else:
    days = ', '.join(map(str, free))
    talk.agent(f'Day {day} is taken for {account}. Free: {days}. Which one?',
               f'No, but {account} could have day {days}. What do you say?')
    talk.user(f'Then {otherwise}.', f'Then please {otherwise}.')
    kind, verb, *rest = 'fallback', *otherwise.split()
    if verb == 'keep':
      talk.agent(f'Fine, it stays on day {now}.', f'Day {now} it is, then.')
      return kind, (f'day {now}',)
    if verb == 'cancel':
      talk.call('cancel_visit', account=account)
      talk.agent('The visit is cancelled.', 'I have cancelled it: cancelled.')
      return kind, ('cancelled',)
    day = int(rest[-1])
  talk.call('book_visit', account=account, day=day)
  talk.agent(f'Done, the technician comes on day {day}.',
             f'Your visit is on day {day} now.')
  return kind, (f'day {day}',)


def pause(state: state_lib.State, caller: str,
          rng: random.Random) -> domain.Demand | None:
  """A pause: nothing due, no visit in the way, not for too long."""
  talk = _start(state, caller)
  if not talk or talk.home['status'] not in ('active', 'blocked'):
    return None
  until, pays = rng.randrange(30, 76), rng.random() < 0.75
  agrees = rng.random() < 0.7
  talk.user(f'Please pause my internet until day {until}.',
            f'I am away until day {until}. Can you pause my service?',
            f'I need a pause until day {until}.')
  end = _blocked(talk) or _settle(talk, pays) or _pause(talk, until, agrees)
  goal = (f'Pause your internet until day {until}. You '
          f'{"pay" if pays else "do not pay"} what is due if asked. '
          f'You {"agree" if agrees else "do not agree"} to a shorter pause '
          'or to lose a visit.')
  return talk.demand('pause', goal, end, about=(f'day {until}',))


def _pause(talk: Script, until: int, agrees: bool) -> End:
  account, last = talk.account, min(until, LONGEST_PAUSE)
  talk.call('show_visits', account=account)
  booked = talk.visit['day']
  short = f' only until day {last}' if last < until else f' until day {last}'
  lost = f' and cancel the visit on day {booked}' if booked else ''
  talk.agent(f'Shall I pause {account}{short}{lost}?',
             f'I would pause {account}{short}{lost}. Do you agree?')
  kind = 'do'
  if last < until or booked:
    if not agrees:
      talk.user('No, not like that.', 'No, then leave it.')
      talk.agent('Fine, nothing is changed.', 'All right, nothing is changed.')
      return 'refuse', ('nothing is changed', f'day {last}')
    kind = 'fallback'
  talk.user('Yes, please.', 'Yes, I agree.', 'Yes, do that.')
  if booked:
    talk.call('cancel_visit', account=account)
  talk.call('pause_service', account=account, until=last)
  talk.agent(f'Your service is paused until day {last}.',
             f'Done, it is paused until day {last}.')
  return kind, (f'day {last}',)


def pay(state: state_lib.State, caller: str,
        rng: random.Random) -> domain.Demand | None:
  """What is due is paid, if anything is."""
  del rng  # the state decides
  talk = _start(state, caller)
  if not talk:
    return None
  due = talk.home['due']
  talk.user('I want to pay my bill.', 'Can I pay what I owe?',
            'Please take my payment.')
  end = _blocked(talk) or _settle(talk, pays=True)
  if not end and due:
    talk.agent(f'Done, {due} is paid.', f'You have paid {due}, thank you.')
    end = 'do', (str(due), 'paid')
  elif not end:
    talk.agent('Nothing is due, so there is nothing to pay.',
               'You owe nothing: nothing is due.')
    end = 'refuse', ('nothing is due',)
  return talk.demand('pay', 'Pay your bill, if there is any.', end)


def moving(state: state_lib.State, caller: str,
           rng: random.Random) -> domain.Demand | None:
  """A new address is for a human, once nothing is due."""
  talk = _start(state, caller)
  if not talk:
    return None
  pays = rng.random() < 0.6
  talk.user('I am moving to another town.', 'My address changes soon.',
            'I move house and take my internet along.')
  end = (_blocked(talk) or _settle(talk, pays)
         or _transfer(talk, 'moving', 'New addresses are done by hand'))
  return talk.demand(
      'moving', 'You move to another town. You '
      f'{"pay" if pays else "do not pay"} what is due if asked.', end)


FAMILIES = (connection, slow, plan, fee, visit, pause, pay, moving)
