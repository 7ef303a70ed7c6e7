"""Holds the phrases of both sides of the retail dialogues.

The constants are the variants of each turn; the functions put orders, items
and addresses into words.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
import re
from typing import Any

from agentrl.eigendata.tau2 import phrases
from agentrl.eigendata.tau2.retail import records

MOST_WORDS = 35  # length of a list of versions

Item = records.Record

HELLO = ('Hi! ', 'Hello. ', 'Hi there. ', '', 'Good day. ', 'Hey! ')
NEXT = ('Yes, one more thing. {}', 'I have another request. {}', 'Thanks. {}',
        'Great, thank you. {}', 'There is something else. {}', '{}')
WHO = (
    'I can help with that. May I have your email, or your name and zip code?',
    'Sure. To find your account, please give me your email address, or your '
    'full name and zip code.',
    'Of course. First I need to verify you: what is your email, or your name '
    'and zip code?',
    'Happy to help. Please tell me your email, or else your name and zip code.')
NO_ACCOUNT = (
    'I cannot find an account with that. Could you check it, please?',
    'There is no account with these details. Do you have others?',
    'Sorry, nothing was found. Could you give me your details again?')
MY_EMAIL = ('My email is {}.', 'It is {}.', 'Sure, my email: {}.',
            'You can find me under {}.')
MY_NAME = ('I am {0} {1}, zip code {2}.', '{0} {1}, {2}.',
           'My name is {0} {1} and my zip code is {2}.',
           'I do not have my email at hand. I am {0} {1}, zip {2}.')
CORRECTED = ('Sorry, let me try again. ', 'Oh, my mistake. ', 'Hm, then: ',
             'Then it must be this. ')
THANKS = ('Thank you, {}. ', 'Thanks, {}. ', 'I found your account, {}. ',
          'Welcome back, {}. ')
MORE = (' Is there anything else I can do for you?', ' Anything else?',
        ' Can I help you with something else?', ' What else can I do?')
BYE = ('No, that is all. Thank you! ###STOP###', 'No, thanks. ###STOP###',
       'That was everything, goodbye. ###STOP###',
       'Nothing else, thank you. ###STOP###', 'No. Bye! ###STOP###')
CONFIRM = (' Do you confirm (yes/no)?', ' Shall I go ahead (yes/no)?',
           ' Please confirm with yes.', ' Is that correct (yes/no)?',
           ' Do you want me to proceed (yes/no)?')
YES = ('Yes, please.', 'Yes.', 'Yes, I confirm.', 'Yes, go ahead.',
       'Yes, that is right.', 'Yes, do it please.')

WANT = ('I want to {}.', 'I would like to {}.', 'Please help me to {}.',
        'I need to {}.', 'Can you help me {}?')
TELL = ('Could you tell me {}?', 'Please tell me {}.',
        'I would like to know {}.', 'I want to know {}.')
WHICH_ORDER = (
    'Which of these orders do you mean: {}?', 'I see {}. Which order is it?',
    'These could be meant: {}. Which one?')
THAT_ORDER = ('I mean order {}.', 'Order {}, please.', 'It is {}.', '{}.')
WHICH_ITEMS = ('Order {} has {}. Which of these do you mean?',
               'In order {} I see {}. Which items is it about?')
WHICH_ONE = ('Order {} has more than one {}: {}. Which do you mean?',
             'There are several in order {}. Which {} is it: {}?')
THESE = ('{}.', 'It is {}.', 'I mean {}.', 'That would be {}.')
REASON = ('Why do you want to cancel: no longer needed, or ordered by '
          'mistake?', 'May I ask for the reason: is it no longer needed, or '
          'was it ordered by mistake?',
          'Is the reason that it is no longer needed or ordered by mistake?')
MY_REASON = {
    'no longer needed': ('It is no longer needed.', 'I no longer need it.',
                         'No longer needed.'),
    'ordered by mistake': ('I ordered it by mistake.', 'Ordered by mistake.',
                           'It was ordered by mistake.')}
WHOLE = ('I am sorry, single items cannot be cancelled, only the whole order '
         '{} with {}. Do you want that?',
         'I cannot cancel only a part of order {}. It has {}. Shall it be '
         'cancelled as a whole?')
WHOLE_YES = ('Then cancel the whole order.', 'All right, cancel all of it.',
             'Okay, cancel the entire order then.')
PAY = ('Which payment method shall I use for the price difference: {}?',
       'How would you like to settle the price difference: {}?')
REFUND = ('Where shall the refund go: {}?', 'How shall I refund you: {}?',
          'You can get the refund to {}. Which do you prefer?')
OTHER_PAY = ('How would you like to pay instead: {}?',
             'Which payment method shall it be: {}?')
BY = ('{}, please.', 'Use {}.', 'I prefer {}.', 'Please take {}.')
NO_REFUND_TO = (
    'I am sorry, a refund can only go to the original payment method or to a '
    'gift card: {}.', 'That is not possible. The refund must go to the '
    'original payment method or to a gift card: {}.')
TOO_LITTLE = (
    'I am sorry, the gift card has ${}, which does not cover ${}.',
    'That gift card cannot be used: its balance is ${}, less than ${}.')
THEN_BY = ('Then use {}.', 'Okay, {} then.', 'All right, take {}.')
LEAVE = ('Then leave it as it is.', 'Never mind then.', 'Then forget it.')
LEFT = ('All right, nothing was changed.', 'Okay, I leave it as it is.')
INSTEAD = ('What would you like instead of {}?',
           'Which version do you want in place of {}?',
           'What shall {} be changed to?')
WISH = ('{}.', '{}, please.', 'I want {}.', 'I would like {}.')
VERSIONS = ('Available for the {}: {}. Which one would you like?',
            'For the {} I can offer {}. Which do you choose?',
            'These {} versions are in stock: {}. Which one do you want?')
PICK = ('The one with {}.', 'I take the one with {}.', 'With {}, please.')
NEW_ADDRESS = ('What is the new address?', 'Which address shall it be?',
               'Please tell me the new address.')
ADDRESS = ('{}, please.', 'Use {}.', 'It is {}.', 'Please take {}.')

CANCEL = ('I will cancel order {} ({}). ${} go back to {} {}.',
          'Order {} with {} will be cancelled, and ${} refunded to {} {}.')
CANCELLED = ('Order {} is cancelled.', 'Done, I cancelled order {}.')
RETURN = ('You return from order {}: {}. The refund of ${} goes to {}.',
          'This is the return from order {}: {}. You get ${} back to {}.')
RETURNED = ('The return for order {} is requested. An email will tell you how '
            'to send the items back.', 'Done, you will receive an email about '
            'the return from order {}.')
CHANGE = {
    'exchange_delivered_order_items': (
        'Exchange in order {}: {}. {} Are these all the items to exchange?',
        'In order {} I will exchange: {}. {} Please check that nothing is '
        'missing.'),
    'modify_pending_order_items': (
        'Change in order {}: {}. {} Items can be changed only once, so is '
        'this all?', 'In order {} I will change: {}. {} It cannot be changed '
        'again, so make sure that nothing is missing.')}
CHANGED = {
    'exchange_delivered_order_items': (
        'The exchange for order {} is requested. You will get an email on how '
        'to return the old items.', 'Done, the exchange for order {} is under '
        'way. An email will follow.'),
    'modify_pending_order_items': (
        'The items of order {} are changed.', 'Done, I changed order {}.')}
MOVE = ('Order {} will be shipped to {}.', 'New address of order {}: {}.')
MOVED = ('Order {} now goes to the new address.',
         'The address of order {} is changed.')
MOVE_USER = ('Your new default address will be {}.',
             'I will set your default address to {}.')
MOVED_USER = ('Your default address is changed.',
              'Done, your default address is updated.')
REPAY = ('Order {} will be paid with {} instead of {}.',
         'I will change the payment of order {} to {}, in place of {}.')
REPAID = ('The payment method of order {} is changed.',
          'Done, order {} is paid with the new method.')

DENY = ('I am sorry, I cannot do that. {}', 'Unfortunately not. {}',
        'I understand, but this is not possible. {}', 'I am afraid not. {}')
# Sign of a scenario where single items shall be taken out of an order.
PARTLY = r'(?i)(cancel|remov)\w*[^.]*\b(one|single|part|partial|just|item)\b'
RULES = (  # (sign in the request, the rule to quote)
    ('(undo|revert|reverse|restore).*cancel',
     'A cancelled order cannot be restored.'),
    ('cancel', 'Only a pending order can be cancelled, as a whole, and the '
     'refund goes to the original payment method.'),
    ('refund.*(payment|card|paypal)', 'A refund can only go to the original '
     'payment method or to a gift card.'),
    ('return', 'Only a delivered order can be returned.'))
NO_RULE = 'It is beyond what I am able to do.'
ACCEPTED = ('I see. Then I leave it as it is.', 'All right, never mind then.',
            'Okay, then nothing shall be changed.')
HUMAN = ('Then I want to talk to a human.', 'Please get me a human agent.',
         'That is not acceptable, transfer me to a human.')
HOLD = ('YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON.',)
HANDED = ('###TRANSFER###', 'Okay. ###TRANSFER###', 'Thanks. ###TRANSFER###')


def money(amount: Any) -> str:
  return f'{abs(float(amount)):.2f}'


def options(chosen: Mapping[str, str]) -> str:
  return ', '.join(f'{k} {v}' for k, v in chosen.items())


def offer(stock: Mapping[str, Item], old: Item,
          vague: Mapping[str, str]) -> str:
  """Lists versions that differ in the open options only, cheapest first.

  Args:
    stock: item id -> version of the product.
    old: the item to replace.
    vague: open option -> value; '' where it is not known.
  """
  fits = [v for v in stock.values() if v['available'] and all(
      value == vague.get(k, old['options'].get(k)) or vague.get(k) == ''
      for k, value in v['options'].items())]
  told, size = [], 0
  for v in sorted(fits, key=lambda v: float(v['price'])):
    chosen = {k: v['options'][k] for k in vague if not vague[k]}
    told.append(f'{options(chosen)} for ${money(v["price"])}')
    size += len(told[-1].split())
    if size > MOST_WORDS:
      break
  return '; '.join(told)


def names(items: Iterable[Item], the: str = 'the ') -> str:
  counts = collections.Counter(item['name'] for item in items)
  return phrases.listed(f'{the}{f"{n} " * (n > 1)}{name}{" items" * (n > 1)}'
                for name, n in counts.items())


def full(items: Sequence[Item]) -> str:
  """Lists items with their prices, and with their options if they are few."""
  def tell(i: Item) -> str:
    return f'{options(i["options"])}, ' if len(items) < 4 else ''
  return '; '.join(f'{i["name"]} ({tell(i)}${money(i["price"])})'
                   for i in items)


def address(parts: Mapping[str, str]) -> str:
  keys = ('address1', 'address2', 'city', 'state', 'zip', 'country')
  return ', '.join(parts[k] for k in keys if parts[k])


def payment(method: Mapping[str, Any], known: Iterable[Mapping[str, Any]]
            ) -> str:
  """Describes a payment method so that it differs from the user's others."""
  if method['source'] == 'credit_card':
    return f'the {method["brand"]} card ending in {method["last_four"]}'
  alike = [m for m in known if m['source'] == method['source']]
  kind = method['source'].replace('_', ' ').replace('paypal', 'PayPal account')
  return f'the {kind}' + f' {method["id"]}' * (len(alike) > 1)


def has(text: str, value: str) -> bool:
  """Returns whether the text contains the value as whole words."""
  return bool(re.search(rf'(?<!\w){re.escape(value)}(?!\w)', text, re.I))


def mentions(text: str, name: str) -> bool:
  """Returns whether the text names such a product, even in a short form."""
  def squeeze(s: str) -> str:
    return re.sub(r'[\s-]', '', s.lower())
  stems = [squeeze(word).rstrip('s') for word in name.split()]
  if any(len(stem) > 3 and stem in squeeze(text) for stem in stems):
    return True
  # 'watch' may mean a wristwatch; a bed stands in a text as a word only.
  return has(text, stems[-1]) or any(
      stems[-1].endswith(w) for w in re.findall(r'[a-z]{5,}', text.lower()))


def reason_for_call(scenario: str, most: int = 60) -> str:
  """Rewrites the reason for the call in the first person, at most `most` words
  unless one sentence is longer."""
  part = re.search(r'Reason for call:(.*?)Known info:', scenario, re.S)
  reason = re.sub(r',? (and|but) if the agent[^.]*', '',
                  part[1] if part else scenario)
  said = []
  for sentence in re.split(r'(?<=[.?!])\s+', reason.strip()):
    if re.search('agent|human|angry|insistent|mention', sentence):
      continue
    for old, new in (('you are', 'I am'), ("you're", 'I am'),
                     ("you've", 'I have'), ('yourself', 'myself'),
                     ('your', 'my'), ('you', 'I')):
      sentence = re.sub(rf'\b{old}\b', new, sentence, flags=re.I)
    said.append(sentence[:1].upper() + sentence[1:])
  while len(said) > 1 and len(' '.join(said).split()) > most:
    said.pop()
  return ' '.join(said) or 'I have a special request.'


def rule(text: str) -> str:
  """Returns the rule that forbids a request."""
  return next((rule for sign, rule in RULES
               if re.search(sign, text, re.I | re.S)), NO_RULE)
