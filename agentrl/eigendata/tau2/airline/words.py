"""Holds the phrases of both sides of the airline dialogues.

`SAY` has the variants of each turn; the functions put records into words.
"""

from __future__ import annotations

from collections.abc import Sequence
import random
import re

from agentrl.eigendata.tau2 import phrases
from agentrl.eigendata.tau2.airline import records

Record = records.Record

# Name: variants. The user's requests come first, then all other turns.
_TEXT = '''
want balances: what are the sums of my gift cards and my certificates?
want upcoming: what is the total cost of all my upcoming flights?
want allowance: how many suitcases may I bring on {0}, as a number?
want remove: please remove passenger {1} from {0}. | I want to take {1} off {0}.
want basic: I want to change the flights of {0}. | {0} needs other flights.
want cancel: I want to cancel {0}. | please cancel {0}. | I need to cancel {0}.
want clash: I have several flights on the same day, please sort it out.
want flights: I want to change the flights of {0}. | please change the flights
  of {0}. | I need other flights for {0}.
want cabin: please change {0} to {1}. | I want {0} to be in {1}.
want nonstop: please change {0} to a nonstop flight, if there is one.
want upgrade: I want {0} in business. | please upgrade {0} to business.
want part: I want only {1} of {0} in business.
want passengers: please change passenger {1} to {2} on {0}. | I want to change
  {1} to {2} on {0}.
want bags: please add {1} to {0}. | I want to add {1} to {0}.
want book: I want to book a {1} trip from {2} to {3}. | please book a new {1}
  trip from {2} to {3}.
want again: please book the same flights, just for {1}.
want total: how much is my card charged in total?
want insurance: please refund the insurance of {0}.
want delay: my flight was delayed and I want compensation. It is in {0}.
want cancelled: I want compensation for my cancelled business flight.
want transfer: I want to speak to a human agent. | please pass me to a human.
hello: Hi, | Hello, | Good afternoon, | Hi there, | Good day,
my id: My user id is {}. | It is {}. | Sure, {}. | The user id is {}.
ask id: I can help with that. What is your user id? | Your user id, please? | Of
  course. May I have your user id? | Let me look into it. Please tell me your
  user id.
thanks: Thank you, {}. | Thanks, {}. | Hello {}. | I have your profile, {}.
ask reservation: What is the reservation id? | Which reservation is it about? |
  Could you give me the reservation id? | May I have the reservation id?
my reservation: It is {}. | This is about {}. | {}, please.
no reservation: I do not remember the id. It is {}. | I do not know the id,
  it is {}. | I do not have it at hand. It is {}.
ask reason: Why do you want to cancel? | What is the reason to cancel?
plans: My plans have changed. | A change of plans. | I changed my plans.
ill: For health reasons. | I am ill and cannot fly. | I am sick.
more: Is there anything else? | Can I do anything else for you? | What else can
  I do for you? | Anything else?
also: Yes. {} | Yes, one more thing. {} | There is more. {} | {}
confirm: {} Do you confirm (yes/no)? | {} Shall I go ahead (yes/no)? | {} Shall
  I do it (yes/no)? | {} Please confirm (yes/no).
yes: Yes. | Yes, please. | Yes, go ahead. | Yes, I confirm. | Yes, do it.
bye: No, thank you. ###STOP### | That is all, thanks! ###STOP### | No, goodbye.
  ###STOP### | Nothing else, thank you. ###STOP###
hold: YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON.
handed: ###TRANSFER### | Okay. ###TRANSFER### | Thanks. ###TRANSFER###
push: That is not acceptable. Please make an exception. | Can you not make an
  exception for me? | I insist. This is important. | I do not accept that. | At
  least give me a part of it, or a voucher.
firm: I understand, but our policy does not allow it. I cannot do that. | I am
  sorry, there are no exceptions, so I have to decline. | I am sorry for the
  trouble, but that does not change the rules. | I see your point, but I still
  cannot do it under our policy.
give up: All right, then leave it as it is. | I see. Then leave it. | Okay, I
  accept that. | Fine, then not.
no remove: {} must keep its number of passengers, I am sorry.
no basic: {} is basic economy, so its flights cannot be changed.
no insurance: I cannot refund the insurance of {}. | The insurance of {} stays.
no part: I am sorry, all of {} must be in one cabin. | The cabin must be one for
  all of {}, I cannot change a part of it.
no nonstop: I am sorry, there is no nonstop flight for {} on that day.
no cancelled: None of your reservations has a cancelled business flight this
  month. I cannot compensate you.
delayed: I am sorry, {} is {}. How can I help? | I see, {} is {}, I am sorry.
compensate: I want compensation for it. | How will you compensate me? | I ask
  for compensation, a voucher is fine.
no delay: You are a {} member without insurance, and change or cancel nothing. I
  cannot compensate the delay.
clashes: Yes, on some days there are several. Where will you be on them?
too dear: My limit is ${}, that is too much. | No, I pay ${} at most.
ask flights: Which dates and flights would you like? | On which date, and how?
ask pay: {1} Which payment method shall I use: {0}? | {1} I need one payment
  method. Which one: {0}?
pay: Use {}, please. | With {}. | Please take {}. | {}, please.
ask travellers: Who is travelling, with date of birth?
travellers: {}. | It is for {}. | The passengers: {}.
ask extras: How many checked bags, and do you want insurance for $30 each?
extras: {} checked bags, insurance: {}. | {} bags; insurance: {}.
ask payments: The total is ${}. How do you want to pay?
no cancel: I cannot cancel {0}: it is {1}, was booked more than 24 hours ago,
  and {2}. | {0} cannot be cancelled: it was booked over 24 hours ago in {1},
  and {2}.
text: {}
'''
SAY = {name: tuple(v.strip() for v in text.split(' | ')) for name, text in (
    line.split(': ', 1) for line in re.sub(r'\n\s+', ' ', _TEXT).split('\n')
    if line)}


def capitalized(text: str) -> str:
  return text[:1].upper() + text[1:]


def after(hello: str, text: str) -> str:
  """Appends a text to a greeting that ends in a comma."""
  small = text if re.match(r'I\b', text) else text[:1].lower() + text[1:]
  return f'{hello} {small}'


def day(date: str, rng: random.Random) -> str:
  return rng.choice((date, f'May {int(date[-2:])}'))


def cabin(name: str) -> str:
  return name.replace('_', ' ')


def bags(n: int) -> str:
  return f'{n} checked bag{"s" * (n != 1)}'


def free_bags(level: str, trip: Record) -> str:
  """Tells how many bags of a passenger are free, and why."""
  each = records.free_bags(level, trip['cabin'])
  return (f'As a {level} member in {cabin(trip["cabin"])} you have '
          f'{bags(each)} free for each passenger.')


def legs_of(flights: Sequence[Record]) -> str:
  days = {}
  for f in flights:
    days.setdefault(f['date'], []).append(f['flight_number'])
  return phrases.listed(f'{phrases.listed(keys)} on {date}'
                        for date, keys in days.items())


def names(passengers: Sequence[Record]) -> str:
  return phrases.listed(
      f'{p["first_name"]} {p["last_name"]}' for p in passengers)


def people(passengers: Sequence[Record], known: Sequence[Record] = ()) -> str:
  """Lists passengers, with the birthdays of those who are not known."""
  return phrases.listed(
      names([p]) + f', born {p["dob"]}' * (dict(p) not in known)
      for p in passengers)


def renamed(trip: Record, args: Record) -> list[str]:
  """Returns the names of the passengers removed, and of those added."""
  old, new = trip['passengers'], [*map(dict, args['passengers'])]
  return [names([p for p in old if p not in new]),
          names([p for p in new if p not in old])]


def booking(args: Record) -> str:
  how = phrases.listed(f'${p["amount"]} with {p["payment_id"]}'
                       for p in args['payment_methods'])
  return (f'{args["origin"]} to {args["destination"]}, '
          f'{legs_of(args["flights"])}, {cabin(args["cabin"])}, for '
          f'{names(args["passengers"])}, {bags(args["total_baggages"])}, '
          f'insurance: {args["insurance"]}. You pay {how}.')


def certificate(level: str, total: float, people: int) -> str:
  """Offers a certificate for a delay."""
  return (f'As you are a {level} member, I can send a certificate of '
          f'${total:g}: $50 a passenger, for {people}.')


def cancelled(keys: Sequence[str]) -> str:
  """Reports the cancellation of reservations."""
  return (f'{phrases.listed(keys)} {"are" if keys[1:] else "is"} cancelled. '
          'The refund takes 5 to 7 business days. ')


def money(cost: float) -> str:
  """Tells what a change of price costs the user or gives back."""
  return ('There is no extra charge.' if not cost else
          f'It costs ${cost:g} more in total.' if cost > 0 else
          f'You get ${-cost:g} back.')


def no_cancel(trip: Record, rng: random.Random) -> str:
  """Tells why a reservation cannot be cancelled."""
  insured = ('its insurance does not cover your reason'
             if trip['insurance'] == 'yes' else 'it has no travel insurance')
  return rng.choice(SAY['no cancel']).format(
      trip['reservation_id'], cabin(trip['cabin']), insured)
