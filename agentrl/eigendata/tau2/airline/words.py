"""Words for `tau2_airline.py`, and what the user of a scenario wants.

`SAY` has the phrases of both sides. The functions read a scenario, which
tells the user what to want ('You want ...'), and put things into words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import random
import re
from typing import Any

from agentrl import types

TODAY = '2024-05-15'  # of the policy

Facts = Mapping[str, Any]  # anything as the tools show or take it

# Name: variants. First those of the user's demands, then of all other turns.
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
# Where a scenario speaks of these, its own words can open the dialogue.
_SPEAKS_OF = {
    'balances': 'balances|gift cards', 'allowance': 'suitcases',
    'remove': 'remove', 'cancel': r'\bcancel\b', 'flights': 'change',
    'upgrade': 'business|class', 'cabin': 'upgrade', 'book': 'fly',
    'insurance': 'insurance', 'delay': 'delayed', 'cancelled': 'compensation',
    'basic': 'change', 'clash': 'same day'}
_PERSONS = (
    (r'\b(told|help|gives?|tells?|allows|with|for) you\b', r'\1 me'),
    (r"\byou're\b|\byou are\b", 'I am'), (r'\byou were\b', 'I was'),
    (r'\byourself\b', 'myself'), (r'\byour\b', 'my'), (r'\byou\b', 'I'),
    (r':\s*-\s', ' '), (r'\s+-\s', ', '), (r'\s+', ' '), ('and that', 'and'))


def first_person(text: str) -> str:
  """What 'You want your flight' is in the mouth of the user."""
  for pattern, words in _PERSONS:
    text = re.sub(pattern, words, text, flags=re.IGNORECASE)
  return start(text.strip())


def start(text: str) -> str:
  return text[:1].upper() + text[1:]


def after(hello: str, text: str) -> str:
  """The text after a greeting that ends in a comma."""
  small = text if re.match(r'I\b', text) else text[:1].lower() + text[1:]
  return f'{hello} {small}'


def reason(kind: str, scenario: str) -> str:
  """The user's own words for a demand; '' if the scenario has no good ones."""
  part = re.search(r'Reason for call:(.*?)(Known info|Task inst)', scenario,
                   re.DOTALL)
  found = re.split(r'(?<=[.!?])\s+', part[1].strip() if part else '')
  # Advice on how to play the user is not for the agent's ears.
  kept = [s for s in found
          if not re.search('agent|make up|story|mention', s, re.IGNORECASE)]
  text = first_person(' '.join(kept[:3]))
  sign = _SPEAKS_OF.get(kind, '$.')
  return text if len(text.split()) <= 50 and re.search(sign, text) else ''


def pushes(scenario: str) -> list[str]:
  """What the user has to say against a refusal."""
  found = re.findall(r'\b(?:mention|insist|tell the agent) that (.*?)[.\n]',
                     scenario, re.IGNORECASE)
  return [f'{first_person(words)}.' for words in found if 'fees' not in words]


def because(scenario: str, granted: Sequence[Facts]) -> tuple[str, ...]:
  """The user's reason to cancel, as variants."""
  if found := re.search(r'You just know that (.*?)\.', scenario):
    return (f'{first_person(found[1])}.',)
  # Only health or weather make an insured ticket refundable, but in business.
  if re.search(r"you're sick|you are sick", scenario) or any(
      t['insurance'] == 'yes' and t['cabin'] != 'business' for t in granted):
    return SAY['ill']
  found = re.search(r'cancel [^.]*because ([^.]*)\.', scenario)
  return (f'{first_person(found[1])}.',) if found else SAY['plans']


def wanted(scenario: str, legs: Sequence[Facts], rng: random.Random) -> str:
  """How the user describes one way of a trip."""
  low = re.search(r'(?:departing after|fly before) (\d+)\s*am', scenario)
  high = re.search(r'departing[^.]* before (\d+)\s*pm', scenario)
  text = (f'{legs[0]["origin"]} to {legs[-1]["destination"]} on '
          f'{day(legs[0]["date"], rng)}, the '
          f'{"fastest" if "fastest" in scenario else "cheapest"} '
          f'{"flight with one stop" if legs[1:] else "nonstop"}')
  text += f', departing after {low[1]} am' if low else ''
  return text + (f' and before {high[1]} pm' if high else '')


def name(scenario: str, own: Facts, key: str, *, rng: random.Random) -> str:
  """How the user speaks of a reservation before the agent has found it."""
  numbers = {f['flight_number'] for f in own[key]['flights']}
  if key in scenario:
    return f'reservation {key}'
  if named := numbers.intersection(re.findall(r'HAT\d+', scenario)):
    return f'the reservation with flight {min(named)}'
  if 'most recent reservation' in scenario and key == [*own][-1]:
    return 'my last reservation'
  return (f'my trip from {own[key]["origin"]} to {own[key]["destination"]} on '
          f'{day(own[key]["flights"][0]["date"], rng)}')


def day(date: str, rng: random.Random) -> str:
  return rng.choice((date, f'May {int(date[-2:])}'))


def cabin(name: str) -> str:
  return name.replace('_', ' ')


def listed(items: Sequence[str]) -> str:
  *most, last = items
  return f'{", ".join(most)} and {last}' if most else last


def bags(n: int) -> str:
  return f'{n} checked bag{"s" * (n != 1)}'


def free_bags(level: str, trip: Facts) -> tuple[int, str]:
  """How many bags are free for a passenger, and why."""
  each = (('regular', 'silver', 'gold').index(level) +
          ('basic_economy', 'economy', 'business').index(trip['cabin']))
  return each, (f'As a {level} member in {cabin(trip["cabin"])} you have '
                f'{bags(each)} free for each passenger.')


def legs_of(flights: Sequence[Facts]) -> str:
  days = {}
  for f in flights:
    days.setdefault(f['date'], []).append(f['flight_number'])
  return listed([f'{listed(keys)} on {date}' for date, keys in days.items()])


def names(passengers: Sequence[Facts]) -> str:
  return listed([f'{p["first_name"]} {p["last_name"]}' for p in passengers])


def people(passengers: Sequence[Facts], known: Sequence[Facts] = ()) -> str:
  """Passengers, with birthdays but for those who are known."""
  return listed([names([p]) + f', born {p["dob"]}' * (dict(p) not in known)
                 for p in passengers])


def renamed(trip: Facts, args: Facts) -> list[str]:
  """Names of the passengers that go, and of those that come instead."""
  old, new = trip['passengers'], [*map(dict, args['passengers'])]
  return [names([p for p in old if p not in new]),
          names([p for p in new if p not in old])]


def booking(args: Facts) -> str:
  how = listed([f'${p["amount"]} with {p["payment_id"]}'
                for p in args['payment_methods']])
  return (f'{args["origin"]} to {args["destination"]}, '
          f'{legs_of(args["flights"])}, {cabin(args["cabin"])}, for '
          f'{names(args["passengers"])}, {bags(args["total_baggages"])}, '
          f'insurance: {args["insurance"]}. You pay {how}.')


def money(cost: float) -> str:
  """What a change of price means for the user."""
  return ('There is no extra charge.' if not cost else
          f'It costs ${cost:g} more in total.' if cost > 0 else
          f'You get ${-cost:g} back.')


def no_cancel(trip: Facts, rng: random.Random) -> str:
  """Why a reservation cannot be cancelled."""
  insured = ('its insurance does not cover your reason'
             if trip['insurance'] == 'yes' else 'it has no travel insurance')
  return rng.choice(SAY['no cancel']).format(
      trip['reservation_id'], cabin(trip['cabin']), insured)


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
  """A demand: which reservations it is about, and the gold call's arguments.

  The arguments are empty where no gold call grants it.
  """

  kind: str  # `want <kind>` in `SAY` says it
  keys: tuple[str, ...] = ()
  args: Facts = dataclasses.field(default_factory=dict)
  notes: Sequence[Any] = ('',)  # what else the demand names


# What a scenario says when it has a demand that no gold call stands for.
_SIGNS = (
    ('balances', 'gift card balances|on your gift cards'),
    ('upcoming', 'other upcoming flights'),
    ('allowance', 'total number of suitcases'),
    ('remove', r'remove passenger (\w+)'),
    ('insurance', 'refund for the insurance'),
    ('basic', 'change the date of a flight|basic economy cannot be changed'))


def find_wishes(scenario: str, actions: Sequence[types.Action],
                own: Facts, *, airports: Sequence[Facts]) -> list[Wish]:
  """What the user, who has those reservations, wants, in a fit order."""
  gold = {}
  for a in actions:
    gold.setdefault(a.name, []).append(a.arguments)
  granted = [a.arguments['reservation_id'] for name in (
      'update', 'cancel') for a in actions if a.name.startswith(name)]
  keys = _meant(scenario, own, airports)
  main = (*granted, *keys)[:1]
  found = [Wish(kind, main, notes=m.groups() or ('',))
           for kind, sign in _SIGNS if (m := re.search(sign, scenario))]
  sent = gold.get('send_certificate', ({},))[0]
  if sent or 'compensation' in scenario:
    late = keys and 'delayed' in scenario
    found.append(Wish('delay' if late else 'cancelled', keys[:1], sent))
  found += _changes(scenario, gold, own, main=main)
  change = re.search(r'(\w{6})\) to a nonstop', scenario)
  nonstop = [change[1]] if change and change[1] not in granted else []
  left = [key for key in keys if key not in nonstop]
  found += _cancels(scenario, gold, own, keys=left)
  found += [Wish('nonstop', (key,)) for key in nonstop]
  booked = gold.get('book_reservation', ())
  for old, args in zip(({}, *booked), booked):
    same = all(old.get(k) == args[k] for k in (
        'flights', 'cabin', 'total_baggages', 'insurance'))
    kind = 'round' if args['flight_type'] == 'round_trip' else 'one-way'
    found.append(
        Wish('again', (), args, [people(args['passengers'])]) if same else
        Wish('book', (), args, (kind, args['origin'], args['destination'])))
  found += [Wish('total', notes=booked)] * (len(booked) > 1)
  return found + [Wish('transfer')] * ('transfer_to_human_agents' in gold)


def _meant(scenario: str, own: Facts, airports: Sequence[Facts]
          ) -> tuple[str, ...]:
  """The reservations that a scenario names or describes."""
  if found := [k for k in re.findall(r'\b\w{6}\b', scenario) if k in own]:
    return tuple(dict.fromkeys(found))
  numbers = set(re.findall(r'HAT\d+', scenario))
  if found := [k for k, trip in own.items() if numbers.intersection(
      f['flight_number'] for f in trip['flights'])]:
    return tuple(found)
  if 'last reservation' in scenario:
    return tuple(own)[-1:]
  code = {n: a['iata'] for a in airports for n in a.values()}
  place = '|'.join(code)
  routes = {(code[a], code[b]) for a, b in re.findall(
      f'({place}) to ({place})', scenario)}
  return tuple(k for k, trip in own.items()
               if (trip['origin'], trip['destination']) in routes)


def _changes(scenario: str, gold: Facts, own: Facts, *, main: tuple[str, ...]
            ) -> list[Wish]:
  """Changes of reservations, but for cancelling."""
  found = []
  moved = gold.get('update_reservation_flights', ())
  for args in moved:
    key = args['reservation_id']
    same = legs_of(own[key]['flights']) == legs_of(args['flights'])
    found.append(Wish('cabin' if same else 'flights', (key,), args,
                      [cabin(args['cabin'])]))
  dear = re.search(r'\$(\d+)', scenario)
  cabins = [a['cabin'] for a in (*moved, *gold.get('book_reservation', ()))]
  if main and dear and 'business' in scenario and 'business' not in cabins:
    found.append(Wish('upgrade', main, notes=[int(dear[1])]))
    if part := re.search(r'upgrade your (companion \w+)|economy for the return'
                         '|(ONLY IF) the agent', scenario):
      note = f'my {part[1]}' if part[1] else 'the outbound flight'
      # What is to be said only after a refusal comes after it.
      found.insert(len(found) - bool(part[2]), Wish('part', main, notes=[note]))
  for args in gold.get('update_reservation_passengers', ()):
    key = args['reservation_id']
    found.append(Wish('passengers', (key,), args, renamed(own[key], args)))
  for args in gold.get('update_reservation_baggages', ()):
    key = args['reservation_id']
    n = args['total_baggages'] - own[key]['total_baggages']
    found.append(Wish('bags', (key,), args, [bags(n)]))
  return found


def _cancels(scenario: str, gold: Facts, own: Facts, *, keys: Sequence[str]
            ) -> list[Wish]:
  granted = [a['reservation_id'] for a in gold.get('cancel_reservation', ())]
  if 'multiple flights for the same day' in scenario:
    return [Wish('clash', tuple(granted), notes=['all'])]
  wanted = re.search('[Yy]ou want to cancel (?!the insurance)', scenario)
  if not wanted and not granted:
    return []
  if 'cancel all' in scenario:
    single = 'only have one passenger' in scenario
    ahead = tuple(k for k, trip in own.items()
                  if trip['flights'][0]['date'] > TODAY
                  and not (single and len(trip['passengers']) > 1))
    return [Wish('cancel', ahead, notes=['all my upcoming flights' + (
        ' that have only one passenger' * single)])]
  targets = tuple(dict.fromkeys([*(keys if wanted else ()), *granted]))
  found = [Wish('cancel', targets)]
  if other := re.search(r'the other flight on May (\d+)', scenario):
    found += [Wish('cancel', (k,)) for k, trip in own.items()
              if k not in targets and f'2024-05-{other[1]}' in [
                  f['date'] for f in trip['flights']]]
  return found
