"""Draws demands of tau2-bench airline's customers from its database.

Each family follows the policy: an allowed demand becomes gold writes, a
forbidden one a refusal, and one that no agent may grant goes to a human. The
tools check almost none of the policy, so they carry forbidden calls out and the
verdict must see them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import desk as desk_lib
from agentrl.eigendata.tau2 import phrases
from agentrl.eigendata.tau2.airline import records

Desk, DrawnDemand = desk_lib.Desk, desk_lib.DrawnDemand
Record = records.Record
call = types.ToolCall

COVERED = ('you fell ill', 'your doctor forbids you to fly',
           'a storm is forecast for that day', 'you broke a leg')
UNCOVERED = ('your plans have changed', 'your meeting was called off',
             'you found a cheaper fare', 'you would rather stay at home')
GRUMBLES = ('the food on board was cold', 'your seat did not recline',
            'the crew was unfriendly', 'the cabin was too loud')
# Wishes beyond the agent's tools -> summary for the human who takes over.
BEYOND = {
    'change the email address in your profile':
        'The customer wants another email address.',
    'report a suitcase that was lost on your last flight':
        'The customer reports lost luggage.',
    'add a new credit card to your profile':
        'The customer wants to add a credit card.',
    'reserve a window seat in the first row for your next flight':
        'The customer wants a certain seat.',
    'arrange a wheelchair at the airport':
        'The customer needs a wheelchair at the airport.',
    'have your miles from another airline counted towards your membership':
        'The customer wants miles of another airline counted.'}


def identify(desk: Desk) -> tuple[str, str | None, Sequence[types.ToolCall]]:
  """Draws the user's knowledge of itself, the details that it does not know,
  and the calls that find its record."""
  user, name = desk.user['user_id'], ' '.join(desk.user['name'].values())
  words = desk.rng.choice((
      'You are {}. Your user id is {}.', 'Your name is {}, user id {}.',
      'You are {}, and your user id is {}.'))
  return words.format(name, user), None, (
      call('get_user_details', {'user_id': user}),)


# --- Allowed by the policy ---


def _cancel(desk: Desk, trip: Record) -> DrawnDemand | None:
  free = _is_free(trip)
  if not free and trip['insurance'] == 'no':
    return None
  why = desk.rng.choice(UNCOVERED if free else COVERED)
  return DrawnDemand(
      f'cancel {{}}, because {why}.',
      writes=(records.call_about('cancel_reservation', trip),))


def _is_free(trip: Record) -> bool:
  """Returns whether the customer may cancel for any reason."""
  return (trip['cabin'] == 'business'
          or trip['created_at'] >= records.YESTERDAY)


def _cancelled(desk: Desk, trip: Record) -> DrawnDemand | None:
  if records.has_flown(desk, trip):
    return None
  return DrawnDemand(
      'cancel {}, because the airline has cancelled a flight of it.',
      reads=_statuses(trip),
      writes=(records.call_about('cancel_reservation', trip),))


def _statuses(trip: Record) -> tuple[types.ToolCall, ...]:
  return tuple(call('get_flight_status', f)
               for f in records.flight_keys(trip['flights']))


def _refund(desk: Desk, trip: Record) -> DrawnDemand | None:
  """Draws the demand for a certificate for a cancelled flight."""
  if not records.is_compensated(desk, trip):
    return None
  return DrawnDemand(
      'complain that a flight of {} was cancelled, and you ask for a '
      'compensation.', reads=_statuses(trip), writes=(_certificate(
          desk, records.CANCELLED, trip),))


def _certificate(desk: Desk, amount: int, trip: Record) -> types.ToolCall:
  return call('send_certificate', dict(
      user_id=desk.user['user_id'], amount=amount * len(trip['passengers'])))


def _delayed(desk: Desk, trip: Record) -> DrawnDemand | None:
  """Draws the demand for a certificate for a delayed flight, with a change."""
  late = [k for k, leg in enumerate(records.legs(trip)) if 'delayed' in
          records.flight_states(desk, {'flights': leg})]
  if (records.has_flown(desk, trip) or not records.is_compensated(desk, trip)
      or not (demand := _change(desk, trip, late[0]))):
    return None
  return dataclasses.replace(
      demand, reads=(*_statuses(trip), *demand.reads),
      writes=(*demand.writes, _certificate(desk, records.DELAYED, trip)),
      want=f'{demand.want} As it is delayed, you also ask for a compensation.')


def _change(desk: Desk, trip: Record, leg: int | None = None
            ) -> DrawnDemand | None:
  """Draws a move of one way to another day; not in basic economy."""
  if trip['cabin'] == 'basic_economy':
    return None
  return _move(desk, trip, leg)


def _move(desk: Desk, trip: Record, leg: int | None = None
          ) -> DrawnDemand | None:
  legs, cabin = records.legs(trip), trip['cabin']
  people = len(trip['passengers'])
  k = desk.rng.randrange(len(legs)) if leg is None else leg
  date = records.other_day(desk, legs, k)
  old, ends = legs[k], (legs[k][0]['origin'], legs[k][-1]['destination'])
  route = date and records.find_route(desk, ends, date, cabin, people)
  if not route:
    return None
  new, words, search = route
  more = people * (sum(records.seat_price(desk, f, cabin, people) for f in new)
                   - sum(f['price'] for f in old))
  if not (payer := records.payment_method(desk, more)):
    return None
  which = ('{}' if len(legs) == 1 else
           f'the {("outbound", "return")[k]} flights of {{}}')
  asks, facts = desk.question(abs(more), 'the price difference in total')
  legs[k] = new
  return DrawnDemand(
      f'change {which} to {words}, in the same cabin. Use '
      f'{desk.method(payer)} for the difference.{asks}',
      reads=(search,), facts=facts, writes=(records.call_about(
          'update_reservation_flights', trip, cabin=cabin,
          flights=records.flight_keys(sum(legs, [])), payment_id=payer),))


def _cabin(desk: Desk, trip: Record) -> DrawnDemand | None:
  other = records.other_cabin(desk, trip)
  payer = other and records.payment_method(desk, other[1])
  if not payer:
    return None
  cabin, more = other
  asks, facts = desk.question(abs(more), 'what you pay or get back in total')
  return DrawnDemand(
      f'change the cabin of {{}} to {_words(cabin)} for everyone. Use '
      f'{desk.method(payer)} for the difference.{asks}', facts=facts,
      reads=_searches(trip), writes=(records.call_about(
          'update_reservation_flights', trip, cabin=cabin,
          flights=records.flight_keys(trip['flights']), payment_id=payer),))


def _words(cabin: str) -> str:
  return cabin.replace('_', ' ')


def _searches(trip: Record) -> tuple[types.ToolCall, ...]:
  return tuple(call('search_direct_flight', {
      k: f[k] for k in ('origin', 'destination', 'date')})
               for f in trip['flights'])


def _bags(desk: Desk, trip: Record) -> DrawnDemand | None:
  more, people = desk.rng.randint(1, 3), len(trip['passengers'])
  total, paid = trip['total_baggages'] + more, trip['nonfree_baggages']
  fee = max(paid, total - people * records.free_bags(
      desk.user['membership'], trip['cabin']))
  payer = records.payment_method(desk, records.BAG * (fee - paid))
  return payer and DrawnDemand(
      f'add {more} checked bag{"s" * (more > 1)} to {{}}. If there is a fee, '
      f'use {desk.method(payer)}.', writes=(records.call_about(
          'update_reservation_baggages', trip, total_baggages=total,
          nonfree_baggages=fee, payment_id=payer),))


def _passenger(desk: Desk, trip: Record) -> DrawnDemand | None:
  people, new = list(trip['passengers']), records.new_person(desk)
  k = desk.rng.randrange(len(people))
  names = [f'{p["first_name"]} {p["last_name"]}' for p in people]
  if names.count(names[k]) > 1:
    return None
  if desk.rng.random() < 0.5:
    want = (f'have {new["first_name"]} {new["last_name"]}, born {new["dob"]}, '
            f'fly in place of {names[k]} in {{}}.')
  else:
    new = {**people[k], 'last_name': new['last_name']}
    want = f'change the last name of {names[k]} in {{}} to {new["last_name"]}.'
  people[k] = new
  return DrawnDemand(want, writes=(records.call_about(
      'update_reservation_passengers', trip, passengers=people),))


def _book(desk: Desk) -> DrawnDemand | None:
  flight = desk.rng.choice(list(desk.db['flights'].values()))
  ends, cabin = (flight['origin'], flight['destination']), desk.rng.choice(
      records.CABINS)
  people = [{**desk.user['name'], 'dob': desk.user['dob']},
            *(records.new_person(desk)
              for _ in range(desk.rng.choice((0, 0, 1, 2))))]
  there = records.random_day(desk, 16, 24)
  routes = [records.find_route(desk, ends, there, cabin, len(people))]
  back = desk.rng.random() < 0.4
  if back:
    home = records.random_day(desk, int(there[-2:]) + 1, 30)
    routes.append(
        records.find_route(desk, ends[::-1], home, cabin, len(people)))
  if not all(routes):
    return None
  booking = dict(
      user_id=desk.user['user_id'], origin=ends[0], destination=ends[1],
      flight_type='round_trip' if back else 'one_way', cabin=cabin,
      flights=[f for leg, *_ in routes for f in leg], passengers=people)
  ways = ', and back with '.join(words for _, words, _ in routes)
  kind = 'a round trip' if back else 'a one-way trip'
  return _paid_booking(desk, booking, f'book {kind} with {ways}',
                       [search for *_, search in routes])


def _paid_booking(desk: Desk, booking: Record, want: str,
                  reads: Sequence[types.ToolCall]) -> DrawnDemand | None:
  """Completes a booking by luggage, insurance and payment."""
  people, cabin = booking['passengers'], booking['cabin']
  bags, insured = desk.rng.randint(0, 3), desk.rng.choice(('yes', 'no'))
  fee = max(0, bags - len(people) * records.free_bags(
      desk.user['membership'], cabin))
  total = records.BAG * fee + len(people) * (
      records.INSURANCE * (insured == 'yes') + sum(
          records.seat_price(desk, f, cabin, len(people))
          for f in booking['flights']))
  if not (payment := records.split_payment(desk, total)):
    return None
  ways, settle = payment
  # The agent names the amount of a single payment anyway.
  asks, facts = desk.question(total if ways[1:] else 0, 'the total price')
  who = phrases.listed(['yourself', *(
      f'{p["first_name"]} {p["last_name"]}, born {p["dob"]}'
      for p in people[1:])])
  ends = [records.place_words(desk, booking[k])
          for k in ('origin', 'destination')]
  return DrawnDemand(
      f'{want}, from {ends[0]} to {ends[1]} in {_words(cabin)}. It is '
      f'for {who}. You take {bags or "no"} checked bag{"s" * (bags != 1)} in '
      f'all and want {"no " * (insured == "no")}travel insurance. {settle}'
      f'{asks}', reads=tuple(reads), facts=facts, writes=(
          call('book_reservation', dict(
              **booking, payment_methods=ways, total_baggages=bags,
              nonfree_baggages=fee, insurance=insured)),))


# --- Questions ---


def _paid(desk: Desk, trip: Record) -> DrawnDemand:
  return DrawnDemand('know how much you have paid in total for {}.', facts=(
      phrases.figure(sum(p['amount'] for p in trip['payment_history'])),))


def _quote(desk: Desk, trip: Record) -> DrawnDemand | None:
  other = records.other_cabin(desk, trip)
  if not other or other[1] < 100:
    return None
  return DrawnDemand(
      f'know what it would cost in total to have {{}} in '
      f'{_words(other[0])} instead. You do not want to change it.',
      reads=_searches(trip), facts=(phrases.figure(other[1]),))


def _credit(desk: Desk) -> DrawnDemand | None:
  source = desk.rng.choice(('gift_card', 'certificate'))
  amounts = [m['amount'] for m in desk.user['payment_methods'].values()
             if m['source'] == source]
  if sum(amounts) < 100:
    return None
  kind = {'gift_card': 'gift cards', 'certificate': 'travel certificates'}
  return DrawnDemand(
      f'know, before anything else is done, how much is on all your '
      f'{kind[source]} together.', facts=(phrases.figure(sum(amounts)),))


# --- Forbidden by the policy: here, the writes must not be made ---


def _no_cancel(desk: Desk, trip: Record) -> DrawnDemand | None:
  if _is_free(trip):
    return None
  reasons = UNCOVERED if trip['insurance'] == 'yes' else UNCOVERED + COVERED
  return DrawnDemand(
      f'cancel {{}}, because {desk.rng.choice(reasons)}.',
      writes=(records.call_about('cancel_reservation', trip),))


def _no_move(desk: Desk, trip: Record) -> DrawnDemand | None:
  """Draws a move of a trip in basic economy."""
  return _move(desk, trip) if trip['cabin'] == 'basic_economy' else None


def _no_refund(desk: Desk, trip: Record) -> DrawnDemand | None:
  if records.is_compensated(desk, trip):
    return None
  return DrawnDemand(
      'complain that a flight of {} was cancelled, and you ask for a '
      'compensation.', reads=_statuses(trip), writes=(_certificate(
          desk, records.CANCELLED, trip),))


def _no_grumble(desk: Desk, trip: Record) -> DrawnDemand:
  why = desk.rng.choice(GRUMBLES)
  return DrawnDemand(f'be compensated for {{}}, because {why}.', writes=(
      _certificate(desk, records.DELAYED, trip),))


def _no_fewer_bags(desk: Desk, trip: Record) -> DrawnDemand | None:
  payer, bags = records.payment_method(desk, 0), trip['total_baggages'] - 1
  return bags >= 0 and payer and DrawnDemand(
      'take one checked bag off {} and get money back for it.', writes=(
          records.call_about(
              'update_reservation_baggages', trip, total_baggages=bags,
              payment_id=payer,
              nonfree_baggages=min(bags, trip['nonfree_baggages'])),))


def _no_fewer_people(desk: Desk, trip: Record) -> DrawnDemand | None:
  *people, out = trip['passengers']
  return people and DrawnDemand(
      f'take {out["first_name"]} {out["last_name"]} off {{}}; the others still '
      'fly.', writes=(records.call_about(
          'update_reservation_passengers', trip, passengers=people),))


def _no_insurance(desk: Desk, trip: Record) -> DrawnDemand | None:
  if trip['insurance'] == 'yes':
    return None
  return DrawnDemand('add travel insurance to {}, which you left out when you '
                     'booked.')


def _flown(desk: Desk, trip: Record) -> DrawnDemand:
  """Draws a cancellation that only a human may grant: the trip has begun."""
  return DrawnDemand(
      f'cancel {{}}, because {desk.rng.choice(UNCOVERED)}.',
      forbidden=(records.call_about('cancel_reservation', trip),),
      transfer='The customer wants to cancel a trip that is partly flown.')


def _human(desk: Desk) -> DrawnDemand:
  want, why = desk.rng.choice(list(BEYOND.items()))
  return DrawnDemand(f'{want}.', transfer=why)


def _about(inner: Any, fit: Any = records.is_upcoming, *, allowed: bool = True
           ) -> desk_lib.DemandFamily:
  """Makes the family of a demand about a reservation that fits."""
  trips = functools.partial(records.reservations, fit=fit)
  return desk_lib.about_record(inner, trips, records.find_by, allowed=allowed)


def _not(inner: Any, fit: Any = records.is_upcoming) -> desk_lib.DemandFamily:
  return _about(inner, fit, allowed=False)


FAMILIES: Mapping[str, tuple[int, desk_lib.DemandFamily]] = {
    'cancel': (12, _about(_cancel)),
    'cancelled': (4, _about(_cancelled, records.has_flight('cancelled'))),
    'refund': (5, _about(_refund, records.has_flight('cancelled'))),
    'delayed': (2, _about(_delayed, records.has_flight('delayed'))),
    'change': (14, _about(_change)),
    'cabin': (12, _about(_cabin)),
    'bags': (10, _about(_bags)),
    'passenger': (8, _about(_passenger)),
    'book': (14, _book),
    'paid': (4, _about(_paid)),
    'quote': (4, _about(_quote)),
    'credit': (3, _credit),
    'no_cancel': (8, _not(_no_cancel)),
    'no_move': (5, _not(_no_move)),
    'no_refund': (4, _not(_no_refund, records.has_flight('cancelled'))),
    'no_grumble': (3, _not(_no_grumble, records.has_flown)),
    'no_fewer_bags': (3, _not(_no_fewer_bags)),
    'no_fewer_people': (3, _not(_no_fewer_people)),
    'no_insurance': (3, _not(_no_insurance)),
    'flown': (4, _about(_flown, records.has_flown)),
    'human': (1, _human)}
