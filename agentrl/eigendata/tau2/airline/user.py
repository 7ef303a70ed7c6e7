"""Reads the requests of an airline user from a scenario of tau2-bench.

A scenario addresses the user ('You want ...'). The functions find the requests
in it and put them into the user's own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2.airline import records
from agentrl.eigendata.tau2.airline import words

Record = records.Record

# Kind of a request -> sign that the scenario's own words may open the dialogue.
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


@dataclasses.dataclass(frozen=True, slots=True)
class AirlineRequest:
  """Describes one request of the user.

  Attributes:
    kind: `want <kind>` in `words.SAY` has the words for it.
    keys: ids of the reservations that it is about.
    args: arguments of the gold call that grants it; {} if none does.
    notes: other details that the request names.
  """

  kind: str
  keys: tuple[str, ...] = ()
  args: Record = dataclasses.field(default_factory=dict)
  notes: Sequence[Any] = ('',)


# --- The user's words ---


def first_person(text: str) -> str:
  """Rewrites 'You want your flight' as the user would say it."""
  for pattern, replacement in _PERSONS:
    text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
  return words.capitalized(text.strip())


def reason(kind: str, scenario: str) -> str:
  """Returns the scenario's own words for a request; '' if none are good."""
  part = re.search(r'Reason for call:(.*?)(Known info|Task inst)', scenario,
                   re.DOTALL)
  sentences = re.split(r'(?<=[.!?])\s+', part[1].strip() if part else '')
  # Advice on how to play the user is not for the agent's ears.
  kept = [s for s in sentences
          if not re.search('agent|make up|story|mention', s, re.IGNORECASE)]
  text = first_person(' '.join(kept[:3]))
  sign = _SPEAKS_OF.get(kind, '$.')
  return text if len(text.split()) <= 50 and re.search(sign, text) else ''


def objections(scenario: str) -> list[str]:
  """Returns the user's objections to a refusal."""
  clauses = re.findall(r'\b(?:mention|insist|tell the agent) that (.*?)[.\n]',
                       scenario, re.IGNORECASE)
  return [f'{first_person(text)}.' for text in clauses if 'fees' not in text]


def cancel_reasons(scenario: str, granted: Sequence[Record]
                  ) -> tuple[str, ...]:
  """Returns variants of the user's reason to cancel."""
  if known := re.search(r'You just know that (.*?)\.', scenario):
    return (f'{first_person(known[1])}.',)
  # An insured ticket is refundable for health or weather only; one in business
  # for any reason.
  if re.search(r"you're sick|you are sick", scenario) or any(
      t['insurance'] == 'yes' and t['cabin'] != 'business' for t in granted):
    return words.SAY['ill']
  told = re.search(r'cancel [^.]*because ([^.]*)\.', scenario)
  return (f'{first_person(told[1])}.',) if told else words.SAY['plans']


def wanted_flights(scenario: str, legs: Sequence[Record],
                   rng: random.Random) -> str:
  """Describes one way of a trip in the user's words."""
  low = re.search(r'(?:departing after|fly before) (\d+)\s*am', scenario)
  high = re.search(r'departing[^.]* before (\d+)\s*pm', scenario)
  text = (f'{legs[0]["origin"]} to {legs[-1]["destination"]} on '
          f'{words.day(legs[0]["date"], rng)}, the '
          f'{"fastest" if "fastest" in scenario else "cheapest"} '
          f'{"flight with one stop" if legs[1:] else "nonstop"}')
  text += f', departing after {low[1]} am' if low else ''
  return text + (f' and before {high[1]} pm' if high else '')


def name_of(scenario: str, own: Mapping[str, Record], key: str, *,
            rng: random.Random) -> str:
  """Returns the user's name of a reservation that is not looked up yet."""
  numbers = {f['flight_number'] for f in own[key]['flights']}
  if key in scenario:
    return f'reservation {key}'
  if named := numbers.intersection(re.findall(r'HAT\d+', scenario)):
    return f'the reservation with flight {min(named)}'
  if 'most recent reservation' in scenario and key == [*own][-1]:
    return 'my last reservation'
  return (f'my trip from {own[key]["origin"]} to {own[key]["destination"]} on '
          f'{words.day(own[key]["flights"][0]["date"], rng)}')


# --- The requests of a scenario ---

# (kind, sign in the scenario) of requests without a gold call.
_SIGNS = (
    ('balances', 'gift card balances|on your gift cards'),
    ('upcoming', 'other upcoming flights'),
    ('allowance', 'total number of suitcases'),
    ('remove', r'remove passenger (\w+)'),
    ('insurance', 'refund for the insurance'),
    ('basic', 'change the date of a flight|basic economy cannot be changed'))


def find_requests(
    scenario: str, actions: Sequence[types.Action], own: Mapping[str, Record],
    *, airports: Sequence[Record]) -> list[AirlineRequest]:
  """Finds the user's requests, in a suitable order.

  Args:
    scenario: instructions of the user.
    actions: gold calls.
    own: id -> reservation of the user.
    airports: all airports, to recognize cities by.
  """
  gold = {}
  for a in actions:
    gold.setdefault(a.name, []).append(a.arguments)
  granted = [a.arguments['reservation_id'] for verb in (
      'update', 'cancel') for a in actions if a.name.startswith(verb)]
  keys = _meant(scenario, own, airports)
  main = (*granted, *keys)[:1]
  requests = [AirlineRequest(kind, main, notes=m.groups() or ('',))
              for kind, sign in _SIGNS if (m := re.search(sign, scenario))]
  sent = gold.get('send_certificate', ({},))[0]
  if sent or 'compensation' in scenario:
    late = keys and 'delayed' in scenario
    requests.append(AirlineRequest(
        'delay' if late else 'cancelled', keys[:1], sent))
  requests += _changes(scenario, gold, own, main=main)
  change = re.search(r'(\w{6})\) to a nonstop', scenario)
  nonstop = [change[1]] if change and change[1] not in granted else []
  left = [key for key in keys if key not in nonstop]
  requests += _cancellations(scenario, gold, own, keys=left)
  requests += [AirlineRequest('nonstop', (key,)) for key in nonstop]
  booked = gold.get('book_reservation', ())
  requests += _bookings(booked)
  requests += [AirlineRequest('total', notes=booked)] * (len(booked) > 1)
  handed = 'transfer_to_human_agents' in gold
  return requests + [AirlineRequest('transfer')] * handed


def _meant(scenario: str, own: Mapping[str, Record],
           airports: Sequence[Record]) -> tuple[str, ...]:
  """Finds the reservations that a scenario names or describes."""
  if ids := [k for k in re.findall(r'\b\w{6}\b', scenario) if k in own]:
    return tuple(dict.fromkeys(ids))
  numbers = set(re.findall(r'HAT\d+', scenario))
  if ids := [k for k, trip in own.items() if numbers.intersection(
      f['flight_number'] for f in trip['flights'])]:
    return tuple(ids)
  if 'last reservation' in scenario:
    return tuple(own)[-1:]
  code = {n: a['iata'] for a in airports for n in a.values()}
  place = '|'.join(code)
  routes = {(code[a], code[b]) for a, b in re.findall(
      f'({place}) to ({place})', scenario)}
  return tuple(k for k, trip in own.items()
               if (trip['origin'], trip['destination']) in routes)


def _changes(scenario: str, gold: Record, own: Mapping[str, Record], *,
             main: tuple[str, ...]) -> list[AirlineRequest]:
  """Finds requests to change reservations, except cancellations."""
  requests = []
  moved = gold.get('update_reservation_flights', ())
  for args in moved:
    key = args['reservation_id']
    same = words.legs_of(own[key]['flights']) == words.legs_of(args['flights'])
    requests.append(AirlineRequest('cabin' if same else 'flights', (key,), args,
                                   [words.cabin(args['cabin'])]))
  dear = re.search(r'\$(\d+)', scenario)
  cabins = [a['cabin'] for a in (*moved, *gold.get('book_reservation', ()))]
  if main and dear and 'business' in scenario and 'business' not in cabins:
    requests.append(AirlineRequest('upgrade', main, notes=[int(dear[1])]))
    if part := re.search(r'upgrade your (companion \w+)|economy for the return'
                         '|(ONLY IF) the agent', scenario):
      note = f'my {part[1]}' if part[1] else 'the outbound flight'
      # A request that depends on a refusal comes after it.
      requests.insert(len(requests) - bool(part[2]),
                      AirlineRequest('part', main, notes=[note]))
  for args in gold.get('update_reservation_passengers', ()):
    key = args['reservation_id']
    requests.append(AirlineRequest('passengers', (key,), args,
                                   words.renamed(own[key], args)))
  for args in gold.get('update_reservation_baggages', ()):
    key = args['reservation_id']
    n = args['total_baggages'] - own[key]['total_baggages']
    requests.append(AirlineRequest('bags', (key,), args, [words.bags(n)]))
  return requests


def _cancellations(scenario: str, gold: Record, own: Mapping[str, Record], *,
                   keys: Sequence[str]) -> list[AirlineRequest]:
  granted = [a['reservation_id'] for a in gold.get('cancel_reservation', ())]
  if 'multiple flights for the same day' in scenario:
    return [AirlineRequest('clash', tuple(granted), notes=['all'])]
  wanted = re.search('[Yy]ou want to cancel (?!the insurance)', scenario)
  if not wanted and not granted:
    return []
  if 'cancel all' in scenario:
    single = 'only have one passenger' in scenario
    ahead = tuple(k for k, trip in own.items()
                  if trip['flights'][0]['date'] > records.TODAY
                  and not (single and len(trip['passengers']) > 1))
    return [AirlineRequest('cancel', ahead, notes=[
        'all my upcoming flights'
        + ' that have only one passenger' * single])]
  targets = tuple(dict.fromkeys([*(keys if wanted else ()), *granted]))
  requests = [AirlineRequest('cancel', targets)]
  if other := re.search(r'the other flight on May (\d+)', scenario):
    requests += [AirlineRequest('cancel', (k,)) for k, trip in own.items()
                 if k not in targets and f'2024-05-{other[1]}' in [
                     f['date'] for f in trip['flights']]]
  return requests


def _bookings(booked: Sequence[Record]) -> list[AirlineRequest]:
  """Returns a request for each booking; `again` if only passengers differ."""
  requests = []
  for old, args in zip(({}, *booked), booked):
    same = all(old.get(k) == args[k] for k in (
        'flights', 'cabin', 'total_baggages', 'insurance'))
    kind = 'round' if args['flight_type'] == 'round_trip' else 'one-way'
    requests.append(
        AirlineRequest('again', (), args, [words.people(args['passengers'])])
        if same else AirlineRequest(
            'book', (), args, (kind, args['origin'], args['destination'])))
  return requests
