"""How a good agent and a customer talk through a telecom task of tau2-bench.

Written without an LLM: `solve` speaks for both sides, in words drawn at
random, while the calls run in the benchmark's environment. The agent keeps to
the benchmark's policy and to the order of its troubleshooting workflow, and
decides by what it has looked up and was told: it sees neither the gold
actions nor the user's screen, so what it does can be learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import dialogue as tau2_talk
from agentrl.eigendata.tau2.telecom import user as tau2_phone
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2

TODAY = '2025-02-25'  # of the policy
MOST_GB = 2.0  # that may be refuelled

OPENINGS = {
    'service_issue': (
        'Hi, my phone has shown No Service for hours.',
        'Hello, I have no service on my phone.',
        'My phone says No Service, can you help?',
        'I have had no service for a few hours now.'),
    'mobile_data_issue': (
        'Hi, my mobile data does not work properly.',
        'My mobile data is slow or stops. I want excellent speed.',
        'Hello, my mobile internet is bad, I need excellent speed.',
        'Something is wrong with my mobile data.'),
    'mms_issue': (
        'Hi, I cannot send MMS messages.',
        'My messaging app does not send MMS any more.',
        'Hello, sending an MMS has failed for hours.',
        'I am unable to send MMS messages, please help.')}
NUMBER = (
    'I am sorry to hear that. What is your phone number?',
    'I can help with that. Your phone number, please?',
    'Let us fix it. May I have your phone number?')
MY_NUMBER = ('My number is {}.', 'It is {}.', 'Sure, {}.')
THANKS = ('Thank you, {}. ', 'Thanks, {}. ', 'Hello, {}. ')
PLEASE = ('Please {}.', 'Now please {}.', 'Could you {}?', 'Next, please {}.')
DONE = {
    'None': ('Done', 'Okay, done', 'I did that', 'That is done'),
    'Easy': ('Understood, done', 'Done as you said', 'Got it, done',
             'Thanks, I did that'),
    'Hard': ('I think I did it', 'Done, I hope', 'Oh dear, done',
             'Well, I did it')}
# What a person who is uneasy with phones adds first, and asks on the way.
UNEASY = ('', ' Oh dear.', ' Phones confuse me.', ' I am worried.')
WONDER = ('I am bad with phones. Why must I {}?', 'Sorry, why must I {}?',
          'That worries me. Why should I {}?')
EXPLAIN = ('{} Please go ahead.', '{} Could you do it now?',
           'No worry. {} Please try it.')
REFUEL = (
    'Your data is used up. Change the plan, or refuel 2 GB at most, ${} each?',
    'You used up your data. Refuel up to 2 GB at ${} a GB, or change plans?')
ACCEPT = ('2 GB please, the price is fine.', 'Please add 2 GB, I accept.',
          'Add 2 GB, that price is okay.')
BILL = (
    'Bill {} of {} USD is overdue. I sent a payment request, please check '
    'and pay it.',
    'Your bill {} of {} USD is overdue. Please check my payment request and '
    'pay.')
PAID = ('I have paid it.', 'Done, the bill is paid.', 'I made the payment.')
WORKS = ('Great, it works again. Anything else?',
         'I am glad that it works now. Can I do more for you?',
         'Good, that is solved. Is there anything else?')
BYE = ('No, thank you. ###STOP###', 'That is all, thanks! ###STOP###',
       'No, goodbye. ###STOP###', 'Nothing else, thank you. ###STOP###')
HOLD = ('YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON.',)
HANDED = ('###TRANSFER###', 'Okay. ###TRANSFER###', 'Thanks. ###TRANSFER###')


class Talk(tau2_talk.Talk):
  """A telecom dialogue under way.

  Attributes:
    kind: what the user calls about, a key of `OPENINGS`.
    number: of the user's phone.
    place: where the user is.
    persona: None, Easy or Hard: how the user talks.
  """

  def __init__(self, env: tau2.Tau2, task: types.Task, rng: random.Random):
    super().__init__(env, task, rng)
    self.kind = re.match(r'\[(\w+)\]', task.id)[1]
    self.number = re.search(r'phone number ([\d-]+)', task.scenario)[1]
    self.place = 'abroad' if 'currently abroad' in task.scenario else 'at home'
    found = re.search('PERSONA:(Easy|Hard)', task.id)
    self.persona = found[1] if found else 'None'
    self._wonders = self.persona == 'Hard'  # still has a question to ask
    self._at_once = rng.choice((2, 3))  # things that the agent asks for

  def lookup(self, key: str) -> dict[str, Any]:
    return json.loads(self.call('assistant', 'get_details_by_id', id=key))

  def check(self, *names: str, before: str = '') -> str:
    """The agent asks what the phone shows; what the user says to that."""
    items = [tau2_phone.CHECKS[name] for name in names]
    asked = 'check ' + self._listed(items)
    travels = 'network' in names
    if travels:
      asked = f'tell me if you are abroad, and {asked}'
    self.say('assistant', PLEASE, asked, before=before)
    told = [self._do(item) for item in items]
    return self._tell([f'I am {self.place}'] * travels + told)

  def fix(self, names: Sequence[str], before: str = '') -> str:
    """The agent asks for fixes, a few at a time; all that the user says."""
    words = []
    for start in range(0, len(names), self._at_once):
      group = names[start:start + self._at_once]
      items = [tau2_phone.FIXES[name] for name in group]
      self.say('assistant', PLEASE, self._listed(items), before=before)
      self._wonder(items)
      told = [said for item in items if (said := self._do(item))]
      tried = tau2_phone.TRIALS.issuperset(group)
      done = [] if tried else [self.rng.choice(DONE[self.persona])]
      words.append(self._tell(done + told[-1:]))  # the last look counts
      before = ''
    return ' '.join(words)

  def _wonder(self, items: Sequence[tau2_phone.Item]) -> None:
    """An uneasy user may ask, once, what one of the things is good for."""
    known = [item for item in items if item.why]
    if self._wonders and known and self.rng.random() < 0.7:
      self._wonders = False
      item = self.rng.choice(known)
      self.say('user', WONDER, self.rng.choice(item.ask))
      self.say('assistant', EXPLAIN, item.why)

  def _listed(self, items: Sequence[tau2_phone.Item]) -> str:
    *most, last = (self.rng.choice(item.ask) for item in items)
    return f'{", ".join(most)} and {last}' if most else last

  def _do(self, item: tau2_phone.Item) -> str:
    return item.tell(self.call('user', item.tool, **item.arguments))

  def _tell(self, told: Sequence[str]) -> str:
    text = ', '.join(told)
    text = f'{text[0].upper()}{text[1:]}.'
    self.say('user', ('{}',), text)
    return text.lower()


def solve(talk: Talk) -> dialogue.End:
  """Plays the whole dialogue, both sides.

  Raises:
    replay.Unplayable: a call was refused.
  """
  customer = _identify(talk)
  hello = talk.rng.choice(THANKS).format(customer['full_name'].split()[0])
  if talk.kind == 'service_issue':
    unsolved = _service(talk, customer, hello)
  else:
    unsolved = _data(talk, customer, hello)
  if unsolved:
    talk.call('assistant', 'transfer_to_human_agents', summary=unsolved)
    talk.say('assistant', HOLD)
    talk.say('user', HANDED)
  else:
    talk.say('assistant', WORKS)
    talk.say('user', BYE)
  return talk.end


def _identify(talk: Talk) -> Mapping[str, Any]:
  """The customer, as looked up by the number that the user gives."""
  opening = talk.rng.choice(OPENINGS[talk.kind])
  if talk.persona == 'Hard':
    opening += talk.rng.choice(UNEASY)
  if talk.rng.random() < 0.5:
    talk.say('user', ('{}',), opening)
    talk.say('assistant', NUMBER)
    talk.say('user', MY_NUMBER, talk.number)
  else:
    talk.say('user', MY_NUMBER[:1], talk.number, before=f'{opening} ')
  return json.loads(talk.call('assistant', 'get_customer_by_phone',
                              phone_number=talk.number))


def _line(talk: Talk, customer: Mapping[str, Any]) -> Mapping[str, Any]:
  """The line of the user's number.

  Raises:
    replay.Unplayable: the customer has no such line.
  """
  # Ids end like the numbers; a look at the line tells whether it is the one.
  for key in sorted(customer['line_ids'],
                    key=lambda key: key[-3:] != talk.number[-3:]):
    line = talk.lookup(key)
    if line['phone_number'] == talk.number:
      return line
  raise replay.Unplayable(f'No line has the number {talk.number}.')


def _service(talk: Talk, customer: Mapping[str, Any], hello: str) -> str:
  """Brings service back; says why it could not, '' if it did."""
  told = talk.check('service', before=hello)
  if _has_signal(talk.fix(tau2_phone.remedies(told))):
    return ''
  if 'sim is missing' in told:  # it has been reseated since
    told = talk.check('sim')
  if 'sim is locked' in told:
    return 'The SIM card is locked.'
  told = talk.check('apn')
  if _has_signal(talk.fix(tau2_phone.remedies(told))):
    return ''
  return _suspension(talk, customer)


def _has_signal(told: str) -> bool:
  return 'signal' in told and not told.endswith(f'{tau2_phone.NO_SIGNAL}.')


def _suspension(talk: Talk, customer: Mapping[str, Any]) -> str:
  """Lifts a suspension, if it may; says why not, '' if service is back."""
  line = _line(talk, customer)
  if line['status'] != 'Suspended':
    return 'There is no signal for an unknown reason.'
  if line['contract_end_date'] < TODAY:
    return 'The line is suspended and its contract has ended.'
  # Newest first. The benchmark has one overdue bill at most, and bills are
  # long to read, so the search ends with it.
  for key in reversed(customer['bill_ids']):
    bill = talk.lookup(key)
    if bill['status'] == 'Overdue':
      break
  else:
    return 'The line is suspended, but no bill is overdue.'
  owner = customer['customer_id']
  talk.call('assistant', 'send_payment_request', customer_id=owner,
            bill_id=key)
  talk.say('assistant', BILL, key, bill['total_due'])
  talk.call('user', 'check_payment_request')
  talk.call('user', 'make_payment')
  talk.say('user', PAID)
  if talk.lookup(key)['status'] != 'Paid':
    return 'The bill is not paid.'
  talk.call('assistant', 'resume_line', customer_id=owner,
            line_id=line['line_id'])
  told = talk.fix(['reboot'], before='Your line is active again. ')
  return '' if _has_signal(told) else 'There is no signal on an active line.'


def _data(talk: Talk, customer: Mapping[str, Any], hello: str) -> str:
  """Brings mobile data, or MMS over it, back; says why it could not."""
  told = talk.check('network', before=hello)
  abroad = 'i am abroad' in told
  fixes = tau2_phone.remedies(told)
  talk.fix(fixes + ['roaming'] * (abroad and 'roaming is off' in told))
  news, unsolved = _account(talk, customer, abroad)
  if unsolved:
    return unsolved
  if talk.kind == 'mms_issue':
    trial, success = 'mms', 'i can send mms'
    told = talk.check('mode', 'calling', 'permissions', 'mmsc', before=news)
  else:
    trial, success = 'speed test', 'excellent'
    if success in talk.fix([trial], before=news):
      return ''
    told = talk.check('saver', 'mode', 'vpn')
  told = talk.fix([*tau2_phone.remedies(told), trial])
  return '' if success in told else 'Every step was tried, the issue remains.'


def _account(talk: Talk, customer: Mapping[str, Any],
             abroad: bool) -> tuple[str, str]:
  """Sees to roaming and data usage: (what to tell the user, why it fails)."""
  line = _line(talk, customer)
  plan = talk.lookup(line['plan_id'])
  ids = dict(customer_id=customer['customer_id'], line_id=line['line_id'])
  news = ''
  if abroad and not line['roaming_enabled']:
    talk.call('assistant', 'enable_roaming', **ids)
    news = 'I enabled roaming. '
  left = (plan['data_limit_gb'] + line['data_refueling_gb']
          - line['data_used_gb'])
  if left > 0:
    return news, ''
  if line['data_refueling_gb'] >= MOST_GB:
    return news, 'The data is used up and was refuelled already.'
  talk.say('assistant', REFUEL, plan['data_refueling_price_per_gb'],
           before=news)
  talk.say('user', ACCEPT)
  talk.call('assistant', 'refuel_data', **ids, gb_amount=MOST_GB)
  return 'I added 2 GB. ', ''
