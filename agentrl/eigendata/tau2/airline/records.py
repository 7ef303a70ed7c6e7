"""Reads reservations, flights and money of tau2-bench airline.

The records are plain JSON, as the database has them. Most functions draw the
details of a demand of `tasks.py`; the rest applies the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import datetime
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import desk as desk_lib

Record = Mapping[str, Any]
Desk = desk_lib.Desk
Way = tuple[str, Sequence[Record]]  # (look-up, flights)
call = types.ToolCall

# Times, classes and prices [USD] of the policy.
TODAY = '2024-05-15'
YESTERDAY = '2024-05-14T15:00:00'
FIRST, LAST = 16, 30  # days of May that can be booked
CABINS = ('basic_economy', 'economy', 'business')
MEMBERS = ('regular', 'silver', 'gold')
BAG, INSURANCE = 50, 30
CANCELLED, DELAYED = 100, 50  # value of a certificate, for each passenger

FIRST_NAMES = ('Ilse', 'Tomas', 'Greta', 'Anselm', 'Petra', 'Jorge', 'Nadia')
LAST_NAMES = ('Okafor', 'Lindqvist', 'Baptiste', 'Novak', 'Haddad', 'Ferrante')


def reservations(desk: Desk, fit: Callable[[Desk, Record], bool]
                 ) -> list[Record]:
  """Returns the customer's trips that fit and end where they did not begin."""
  mine = (desk.db['reservations'][key] for key in desk.user['reservations'])
  return [r for r in mine if r['origin'] != r['destination'] and fit(desk, r)]


def find_by(desk: Desk, trip: Record
            ) -> tuple[str, str, Sequence[types.ToolCall]]:
  """Draws a name of a reservation.

  Returns:
    id of the reservation, the customer's name of it, and the look-ups that
    find it.
  """
  key, keys = trip['reservation_id'], desk.user['reservations']
  ends = trip['origin'], trip['destination']
  places = [place_words(desk, code) for code in ends]
  way = f'from {places[0]} to {places[1]}'
  words, seen = f'reservation {key}', [key]
  alike = reservations(
      desk, lambda desk, r: (r['origin'], r['destination']) == ends)
  if desk.rng.random() < 0.3:
    words = f'your trip {way} (reservation {key})'
  elif len(alike) == 1 and desk.rng.random() < 0.3:
    words, seen = f'your trip {way}', keys[:keys.index(key) + 1]
  return key, words, [call('get_reservation_details', {'reservation_id': k})
                      for k in seen]


def place_words(desk: Desk, code: str) -> str:
  cities = {a['iata']: a['city'] for a in desk.look_up('list_all_airports')}
  return desk.rng.choice((code, f'{cities[code]} ({code})'))


def day(date: str) -> str:
  return f'May {int(date[-2:])}'


def flight_states(desk: Desk, trip: Record) -> set[str]:
  flights = desk.db['flights']
  return {flights[f['flight_number']]['dates'][f['date']]['status']
          for f in trip['flights']}


def is_upcoming(desk: Desk, trip: Record) -> bool:
  return flight_states(desk, trip) == {'available'}


def has_flown(desk: Desk, trip: Record) -> bool:
  return bool(flight_states(desk, trip) & {'landed', 'flying'})


def has_flight(state: str) -> Callable[[Desk, Record], bool]:
  """Returns a test whether a flight of a trip is in a state."""
  return lambda desk, trip: state in flight_states(desk, trip)


def is_compensated(desk: Desk, trip: Record) -> bool:
  """Returns whether the customer gets a certificate if a trip fails."""
  return (desk.user['membership'] != 'regular' or trip['insurance'] == 'yes'
          or trip['cabin'] == 'business')


def free_bags(membership: str, cabin: str) -> int:
  """Returns the number of free bags of each passenger."""
  return CABINS.index(cabin) + MEMBERS.index(membership)


def payment_method(desk: Desk, amount: float) -> str | None:
  """Draws a payment method that covers the price of a change."""
  return desk.pick([
      key for key, m in desk.user['payment_methods'].items()
      if m['source'] == 'credit_card'
      or m['source'] == 'gift_card' and m['amount'] >= max(0, amount)])


def random_day(desk: Desk, low: int, high: int) -> str:
  """Draws a day of May, both ends included."""
  return f'2024-05-{desk.rng.randint(low, high)}'


def other_day(desk: Desk, legs: Sequence[Sequence[Record]], k: int
              ) -> str | None:
  """Draws a day for the k-th leg that does not overlap with the other leg."""
  days = {d for d in (f'2024-05-{n}' for n in range(FIRST, LAST + 1))
          if d not in {f['date'] for f in legs[k]}}
  if k:
    days = {d for d in days if d > legs[0][-1]['date']}
  elif len(legs) > 1:
    days = {d for d in days if d < legs[1][0]['date']}
  return desk.pick(sorted(days))


def other_cabin(desk: Desk, trip: Record) -> tuple[str, int] | None:
  """Draws another cabin with enough seats; returns it and its extra price."""
  people = len(trip['passengers'])
  cabin = desk.rng.choice([c for c in CABINS if c != trip['cabin']])
  prices = [seat_price(desk, f, cabin, people) for f in trip['flights']]
  if None in prices:
    return None
  return cabin, people * (sum(prices) - sum(
      f['price'] for f in trip['flights']))


def seat_price(desk: Desk, flight: Record, cabin: str, seats: int
               ) -> int | None:
  """Returns the price of a seat, None if fewer seats are free."""
  day_of = desk.db['flights'][flight['flight_number']]['dates'][flight['date']]
  if day_of.get('available_seats', {}).get(cabin, 0) < seats:
    return None
  return day_of['prices'][cabin]


def find_route(desk: Desk, ends: tuple[str, str], date: str, cabin: str,
               seats: int) -> tuple[list[Record], str, types.ToolCall] | None:
  """Draws flights between two places.

  Returns:
    the flights, the customer's words for them, and the search that finds them;
    None if there are none.
  """
  where = dict(origin=ends[0], destination=ends[1], date=date)
  direct = [dict(flight_number=f['flight_number'], date=date)
            for f in desk.db['flights'].values()
            if (f['origin'], f['destination']) == ends]
  priced = [(seat_price(desk, f, cabin, seats), f) for f in direct]
  priced = sorted(((p, f) for p, f in priced if p is not None),
                  key=lambda pair: pair[0])
  if priced:
    search = call('search_direct_flight', where)
    if priced[1:] and priced[0][0] == priced[1][0] or desk.rng.random() < 0.3:
      _, flight = desk.rng.choice(priced)
      words = f'flight {flight["flight_number"]} on {day(date)}'
      return [flight], words, search
    return [priced[0][1]], f'the cheapest direct flight on {day(date)}', search
  pairs = [[dict(flight_number=f['flight_number'], date=f['date'])
            for f in pair]
           for pair in desk.look_up('search_onestop_flight', **where)]
  pair = desk.pick([p for p in pairs if p[1]['date'] == date and all(
      seat_price(desk, f, cabin, seats) is not None for f in p)])
  return pair and (pair, f'flights {pair[0]["flight_number"]} and '
                   f'{pair[1]["flight_number"]} on {day(date)}',
                   call('search_onestop_flight', where))


def flight_keys(flights: Sequence[Record]) -> list[Record]:
  return [{k: f[k] for k in ('flight_number', 'date')} for f in flights]


def flight_ids(legs: Sequence[Record]) -> list[tuple[str, str]]:
  return [(leg['flight_number'], leg['date']) for leg in legs]


def price_terms(ways: Sequence[Way], cabin: str) -> str:
  """Returns the prices of all flights as a sum; a flight that is searched has a
  price for each cabin, one that is kept a single price."""
  return ' + '.join(
      str(leg['prices'][cabin] if 'prices' in leg else leg['price'])
      for _, legs_of_way in ways for leg in legs_of_way)


def call_about(tool: str, trip: Record, **arguments: Any) -> types.ToolCall:
  """Returns a call about a reservation."""
  return call(tool, {'reservation_id': trip['reservation_id'], **arguments})


def legs(trip: Record) -> list[list[Record]]:
  """Splits the flights of a trip into those there and those back."""
  flights = trip['flights']
  if trip['flight_type'] == 'one_way':
    return [flights]
  turn = [f['destination'] for f in flights].index(trip['destination']) + 1
  return [flights[:turn], flights[turn:]]


def new_person(desk: Desk) -> dict[str, str]:
  """Draws a passenger that is not in the database."""
  born = datetime.date(1950, 1, 1) + datetime.timedelta(
      days=desk.rng.randrange(20000))
  return dict(first_name=desk.rng.choice(FIRST_NAMES),
              last_name=desk.rng.choice(LAST_NAMES), dob=born.isoformat())


def split_payment(desk: Desk, total: int) -> tuple[list[Record], str] | None:
  """Splits a price over the customer's payment methods, one of each kind.

  Returns:
    the payments and the customer's words for them; None if they do not cover
    the price.
  """
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
