"""Plays a good agent and a customer through a telecom task of tau2-bench.

No LLM takes part: `solve` speaks for both sides, in words drawn at random,
while the calls run in the benchmark's environment. The agent keeps to the
benchmark's policy and to the order of its troubleshooting workflow. It decides
only by its look-ups and the user's words, never by the gold actions or the
user's screen, so its behaviour can be learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import dialogue as tau2_dialogue
from agentrl.eigendata.tau2.telecom import records
from agentrl.eigendata.tau2.telecom import user
from agentrl.eigendata.tau2.telecom import words
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2_env


class TelecomDialogue(tau2_dialogue.ScriptedDialogue):
  """Plays a telecom dialogue under way.

  Attributes:
    kind: kind of the user's problem, a key of `words.OPENINGS`.
    number: phone number of the user.
    place: place of the user: `abroad` or `at home`.
    persona: None, Easy or Hard: the user's way of talking.
  """

  def __init__(self, env: tau2_env.Tau2, task: types.Task, rng: random.Random):
    super().__init__(env, task, rng)
    self.kind = re.match(r'\[(\w+)\]', task.id)[1]
    self.number = re.search(r'phone number ([\d-]+)', task.scenario)[1]
    self.place = 'abroad' if 'currently abroad' in task.scenario else 'at home'
    persona = re.search('PERSONA:(Easy|Hard)', task.id)
    self.persona = persona[1] if persona else 'None'
    self._wonders = self.persona == 'Hard'  # still has a question to ask
    self._at_once = rng.choice((2, 3))  # actions that the agent asks for

  def lookup(self, key: str) -> dict[str, Any]:
    return json.loads(self.call('assistant', 'get_details_by_id', id=key))

  def check(self, *names: str, before: str = '') -> str:
    """Lets the agent ask what the phone shows; returns the user's answer."""
    items = [user.CHECKS[name] for name in names]
    asked = 'check ' + self._listed(items)
    travels = 'network' in names
    if travels:
      asked = f'tell me if you are abroad, and {asked}'
    self.say('assistant', words.PLEASE, asked, before=before)
    told = [self._do(item) for item in items]
    return self._tell([f'I am {self.place}'] * travels + told)

  def fix(self, names: Sequence[str], before: str = '') -> str:
    """Lets the agent ask for fixes, a few at a time; returns all answers."""
    answers = []
    for start in range(0, len(names), self._at_once):
      group = names[start:start + self._at_once]
      items = [user.FIXES[name] for name in group]
      self.say('assistant', words.PLEASE, self._listed(items), before=before)
      self._wonder(items)
      told = [said for item in items if (said := self._do(item))]
      tried = user.TRIALS.issuperset(group)
      done = [] if tried else [self.rng.choice(words.DONE[self.persona])]
      answers.append(self._tell(done + told[-1:]))  # the last look counts
      before = ''
    return ' '.join(answers)

  def _wonder(self, items: Sequence[user.PhoneAction]) -> None:
    """Lets an uneasy user ask, at most once, for the reason of an action."""
    known = [item for item in items if item.why]
    if self._wonders and known and self.rng.random() < 0.7:
      self._wonders = False
      item = self.rng.choice(known)
      self.say('user', words.WONDER, self.rng.choice(item.ask))
      self.say('assistant', words.EXPLAIN, item.why)

  def _listed(self, items: Sequence[user.PhoneAction]) -> str:
    *most, last = (self.rng.choice(item.ask) for item in items)
    return f'{", ".join(most)} and {last}' if most else last

  def _do(self, item: user.PhoneAction) -> str:
    return item.tell(self.call('user', item.tool, **item.arguments))

  def _tell(self, told: Sequence[str]) -> str:
    text = ', '.join(told)
    text = f'{text[0].upper()}{text[1:]}.'
    self.say('user', ('{}',), text)
    return text.lower()


def solve(chat: TelecomDialogue) -> dialogue.End:
  """Plays the whole dialogue, both sides.

  Raises:
    replay.Unplayable: a call was refused.
  """
  customer = _identify(chat)
  hello = chat.rng.choice(words.THANKS).format(customer['full_name'].split()[0])
  if chat.kind == 'service_issue':
    unsolved = _service(chat, customer, hello)
  else:
    unsolved = _data(chat, customer, hello)
  if unsolved:
    chat.call('assistant', 'transfer_to_human_agents', summary=unsolved)
    chat.say('assistant', words.HOLD)
    chat.say('user', words.HANDED)
  else:
    chat.say('assistant', words.WORKS)
    chat.say('user', words.BYE)
  return chat.end


def _identify(chat: TelecomDialogue) -> Mapping[str, Any]:
  """Looks the customer up by the number that the user gives."""
  opening = chat.rng.choice(words.OPENINGS[chat.kind])
  if chat.persona == 'Hard':
    opening += chat.rng.choice(words.UNEASY)
  if chat.rng.random() < 0.5:
    chat.say('user', ('{}',), opening)
    chat.say('assistant', words.NUMBER)
    chat.say('user', words.MY_NUMBER, chat.number)
  else:
    chat.say('user', words.MY_NUMBER[:1], chat.number, before=f'{opening} ')
  return json.loads(chat.call('assistant', 'get_customer_by_phone',
                              phone_number=chat.number))


def _line(chat: TelecomDialogue, customer: Mapping[str, Any]
         ) -> Mapping[str, Any]:
  """Looks up the line of the user's number.

  Raises:
    replay.Unplayable: the customer has no such line.
  """
  for key in records.likeliest_lines(customer['line_ids'], chat.number):
    line = chat.lookup(key)
    if line['phone_number'] == chat.number:
      return line
  raise replay.Unplayable(f'No line has the number {chat.number}.')


def _service(chat: TelecomDialogue, customer: Mapping[str, Any],
             hello: str) -> str:
  """Restores service; returns '', or the reason why it could not."""
  told = chat.check('service', before=hello)
  if _has_signal(chat.fix(user.remedies(told))):
    return ''
  if 'sim is missing' in told:  # it has been reseated since
    told = chat.check('sim')
  if 'sim is locked' in told:
    return 'The SIM card is locked.'
  told = chat.check('apn')
  if _has_signal(chat.fix(user.remedies(told))):
    return ''
  return _suspension(chat, customer)


def _has_signal(told: str) -> bool:
  return 'signal' in told and not told.endswith(f'{user.NO_SIGNAL}.')


def _suspension(chat: TelecomDialogue, customer: Mapping[str, Any]) -> str:
  """Lifts a suspension if the policy allows; returns '' or why not."""
  line = _line(chat, customer)
  if line['status'] != 'Suspended':
    return 'There is no signal for an unknown reason.'
  if records.has_ended(line):
    return 'The line is suspended and its contract has ended.'
  # Newest first. The benchmark has at most one overdue bill, and bills are
  # long to read, so the search ends with it.
  for key in reversed(customer['bill_ids']):
    bill = chat.lookup(key)
    if bill['status'] == 'Overdue':
      break
  else:
    return 'The line is suspended, but no bill is overdue.'
  owner = customer['customer_id']
  chat.call('assistant', 'send_payment_request', customer_id=owner,
            bill_id=key)
  chat.say('assistant', words.BILL, key, bill['total_due'])
  chat.call('user', 'check_payment_request')
  chat.call('user', 'make_payment')
  chat.say('user', words.PAID)
  if chat.lookup(key)['status'] != 'Paid':
    return 'The bill is not paid.'
  chat.call('assistant', 'resume_line', customer_id=owner,
            line_id=line['line_id'])
  told = chat.fix(['reboot'], before='Your line is active again. ')
  return '' if _has_signal(told) else 'There is no signal on an active line.'


def _data(chat: TelecomDialogue, customer: Mapping[str, Any],
          hello: str) -> str:
  """Restores mobile data, or MMS over it; returns '' or why it could not."""
  told = chat.check('network', before=hello)
  abroad = 'i am abroad' in told
  fixes = user.remedies(told)
  chat.fix(fixes + ['roaming'] * (abroad and 'roaming is off' in told))
  news, unsolved = _account(chat, customer, abroad)
  if unsolved:
    return unsolved
  if chat.kind == 'mms_issue':
    trial, success = 'mms', 'i can send mms'
    told = chat.check('mode', 'calling', 'permissions', 'mmsc', before=news)
  else:
    trial, success = 'speed test', 'excellent'
    if success in chat.fix([trial], before=news):
      return ''
    told = chat.check('saver', 'mode', 'vpn')
  told = chat.fix([*user.remedies(told), trial])
  return '' if success in told else 'Every step was tried, the issue remains.'


def _account(chat: TelecomDialogue, customer: Mapping[str, Any],
             abroad: bool) -> tuple[str, str]:
  """Mends roaming and data usage; returns (news for the user, why it fails)."""
  line = _line(chat, customer)
  plan = chat.lookup(line['plan_id'])
  ids = dict(customer_id=customer['customer_id'], line_id=line['line_id'])
  news = ''
  if abroad and not line['roaming_enabled']:
    chat.call('assistant', 'enable_roaming', **ids)
    news = 'I enabled roaming. '
  if records.has_data(plan, line):
    return news, ''
  if not records.may_refuel(line):
    return news, 'The data is used up and was refuelled already.'
  chat.say('assistant', words.REFUEL, plan['data_refueling_price_per_gb'],
           before=news)
  chat.say('user', words.ACCEPT)
  chat.call('assistant', 'refuel_data', **ids, gb_amount=records.MOST_GB)
  return 'I added 2 GB. ', ''
