"""Reservations, flights and money of tau2-bench airline, as tasks need them.

What a customer calls a trip, which flights a search would show, how a price is
split: the ground that `tau2_tasks_airline.py` draws its demands on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import datetime
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import desk as tau2_tasks

Record = Mapping[str, Any]
Desk = tau2_tasks.Desk
call = types.ToolCall

# Of the policy: what is now, and what is free and dear.
YESTERDAY = '2024-05-14T15:00:00'
FIRST, LAST = 16, 30  # of May, the days that can be booked
CABINS = ('basic_economy', 'economy', 'business')
MEMBERS = ('regular', 'silver', 'gold')
BAG, INSURANCE = 50, 30
CANCELLED, DELAYED = 100, 50  # of a certificate, for each passenger

FIRST_NAMES = ('Ilse', 'Tomas', 'Greta', 'Anselm', 'Petra', 'Jorge', 'Nadia')
LAST_NAMES = ('Okafor', 'Lindqvist', 'Baptiste', 'Novak', 'Haddad', 'Ferrante')


def fitting(desk: Desk, fit: Callable[[Desk, Record], bool]) -> list[Record]:
  """Trips of the customer; without those that lead to where they began."""
  mine = (desk.db['reservations'][key] for key in desk.user['reservations'])
  return [r for r in mine if r['origin'] != r['destination'] and fit(desk, r)]


def named(desk: Desk, trip: Record
           ) -> tuple[str, str, Sequence[types.ToolCall]]:
  """Id of a reservation, what the customer calls it, how it is found."""
  key, keys = trip['reservation_id'], desk.user['reservations']
  ends = [place(desk, trip[k]) for k in ('origin', 'destination')]
  way = f'from {ends[0]} to {ends[1]}'
  words, seen = f'reservation {key}', [key]
  alike = fitting(desk, lambda desk, r: (r['origin'], r['destination']) == (
      trip['origin'], trip['destination']))
  if desk.rng.random() < 0.3:
    words = f'your trip {way} (reservation {key})'
  elif len(alike) == 1 and desk.rng.random() < 0.3:
    words, seen = f'your trip {way}', keys[:keys.index(key) + 1]
  return key, words, [call('get_reservation_details', {'reservation_id': k})
                      for k in seen]


def place(desk: Desk, code: str) -> str:
  cities = {a['iata']: a['city'] for a in desk.look('list_all_airports')}
  return desk.rng.choice((code, f'{cities[code]} ({code})'))


def day(date: str) -> str:
  return f'May {int(date[-2:])}'


def states(desk: Desk, trip: Record) -> set[str]:
  flights = desk.db['flights']
  return {flights[f['flight_number']]['dates'][f['date']]['status']
          for f in trip['flights']}


def upcoming(desk: Desk, trip: Record) -> bool:
  return states(desk, trip) == {'available'}


def flown(desk: Desk, trip: Record) -> bool:
  return bool(states(desk, trip) & {'landed', 'flying'})


def hit_by(state: str) -> Callable[[Desk, Record], bool]:
  """Whether a flight is cancelled or delayed."""
  return lambda desk, trip: state in states(desk, trip)


def compensated(desk: Desk, trip: Record) -> bool:
  """Whether there is a certificate for this trip, if it is late or off."""
  return (desk.user['membership'] != 'regular' or trip['insurance'] == 'yes'
          or trip['cabin'] == 'business')


def free_bags(desk: Desk, cabin: str) -> int:
  """Of each passenger."""
  return CABINS.index(cabin) + MEMBERS.index(desk.user['membership'])


def payer(desk: Desk, amount: float) -> str | None:
  """A payment method that a change can be paid with."""
  return desk.pick([
      key for key, m in desk.user['payment_methods'].items()
      if m['source'] == 'credit_card'
      or m['source'] == 'gift_card' and m['amount'] >= max(0, amount)])


def date_in(desk: Desk, low: int, high: int) -> str:
  """A day of May, both ends included."""
  return f'2024-05-{desk.rng.randint(low, high)}'


def another_day(desk: Desk, legs: Sequence[Sequence[Record]], k: int
                ) -> str | None:
  """A day for the k-th leg that keeps clear of the other; None if none is."""
  days = {d for d in (f'2024-05-{n}' for n in range(FIRST, LAST + 1))
          if d not in {f['date'] for f in legs[k]}}
  if k:
    days = {d for d in days if d > legs[0][-1]['date']}
  elif len(legs) > 1:
    days = {d for d in days if d < legs[1][0]['date']}
  return desk.pick(sorted(days))


def other_cabin(desk: Desk, trip: Record) -> tuple[str, int] | None:
  """Another cabin with enough seats, and what it costs more."""
  people = len(trip['passengers'])
  cabin = desk.rng.choice([c for c in CABINS if c != trip['cabin']])
  prices = [price(desk, f, cabin, people) for f in trip['flights']]
  if None in prices:
    return None
  return cabin, people * (sum(prices) - sum(
      f['price'] for f in trip['flights']))


def price(desk: Desk, flight: Record, cabin: str, seats: int) -> int | None:
  """Price of a seat, if enough are free."""
  found = desk.db['flights'][flight['flight_number']]['dates'][flight['date']]
  if found.get('available_seats', {}).get(cabin, 0) < seats:
    return None
  return found['prices'][cabin]


def route(desk: Desk, ends: tuple[str, str], date: str, cabin: str,
          seats: int) -> tuple[list[Record], str, types.ToolCall] | None:
  """Flights between two places, how they are put, and the search for them."""
  where = dict(origin=ends[0], destination=ends[1], date=date)
  direct = [dict(flight_number=f['flight_number'], date=date)
            for f in desk.db['flights'].values()
            if (f['origin'], f['destination']) == ends]
  priced = [(price(desk, f, cabin, seats), f) for f in direct]
  priced = sorted(((p, f) for p, f in priced if p is not None),
                  key=lambda found: found[0])
  if priced:
    search = call('search_direct_flight', where)
    if priced[1:] and priced[0][0] == priced[1][0] or desk.rng.random() < 0.3:
      _, flight = desk.rng.choice(priced)
      words = f'flight {flight["flight_number"]} on {day(date)}'
      return [flight], words, search
    return [priced[0][1]], f'the cheapest direct flight on {day(date)}', search
  pairs = [[dict(flight_number=f['flight_number'], date=f['date'])
            for f in pair] for pair in desk.look('search_onestop_flight',
                                                 **where)]
  pair = desk.pick([p for p in pairs if p[1]['date'] == date and all(
      price(desk, f, cabin, seats) is not None for f in p)])
  return pair and (pair, f'flights {pair[0]["flight_number"]} and '
                   f'{pair[1]["flight_number"]} on {day(date)}',
                   call('search_onestop_flight', where))


def bare(flights: Sequence[Record]) -> list[Record]:
  return [{k: f[k] for k in ('flight_number', 'date')} for f in flights]


def to(tool: str, trip: Record, **arguments: Any) -> types.ToolCall:
  """A call about a reservation."""
  return call(tool, {'reservation_id': trip['reservation_id'], **arguments})


def legs(trip: Record) -> list[list[Record]]:
  """The flights there, and those back."""
  flights = trip['flights']
  if trip['flight_type'] == 'one_way':
    return [flights]
  turn = [f['destination'] for f in flights].index(trip['destination']) + 1
  return [flights[:turn], flights[turn:]]


def person(desk: Desk) -> dict[str, str]:
  born = datetime.date(1950, 1, 1) + datetime.timedelta(
      days=desk.rng.randrange(20000))
  return dict(first_name=desk.rng.choice(FIRST_NAMES),
              last_name=desk.rng.choice(LAST_NAMES), dob=born.isoformat())


def split(desk: Desk, total: int) -> tuple[list[Record], str] | None:
  """Who pays what: at most one certificate, one gift card, one credit card."""
  methods, chain, left = desk.user['payment_methods'], [], total
  for source in ('certificate', 'gift_card', 'credit_card'):
    key = desk.pick([k for k, m in methods.items() if m['source'] == source])
    skip = source != 'credit_card' and desk.rng.random() < 0.5
    if key and left and not skip:
      part = int(min(methods[key].get('amount', left), left))
      chain.append(dict(payment_id=key, amount=part))
      left -= part
  names = [desk.method(part['payment_id']) for part in chain]
  if left or not chain:
    return None
  return chain, (f'Pay with {names[0]}.' if len(chain) == 1 else
                 f'First use up {", then ".join(names[:-1])}; the rest goes '
                 f'over {names[-1]}.')
