"""What customers of tau2-bench airline want, drawn from its database.

Each family follows the policy: what it allows becomes gold writes, what it
forbids a refusal, and what no agent may do goes to a human. The tools check
next to nothing of it, so that the forbidden calls of a refusal do fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import desk as tau2_tasks
from agentrl.eigendata.tau2.airline import records as tau2_trips

Record = Mapping[str, Any]
Demand, Desk = tau2_tasks.Demand, tau2_tasks.Desk
call = types.ToolCall

COVERED = ('you fell ill', 'your doctor forbids you to fly',
           'a storm is forecast for that day', 'you broke a leg')
UNCOVERED = ('your plans have changed', 'your meeting was called off',
             'you found a cheaper fare', 'you would rather stay at home')
GRUMBLES = ('the food on board was cold', 'your seat did not recline',
            'the crew was unfriendly', 'the cabin was too loud')
# What no tool of the agent can do.
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
  """What the user knows of itself, does not know, and how it is found."""
  user, name = desk.user['user_id'], ' '.join(desk.user['name'].values())
  words = desk.rng.choice((
      'You are {}. Your user id is {}.', 'Your name is {}, user id {}.',
      'You are {}, and your user id is {}.'))
  return words.format(name, user), None, (
      call('get_user_details', {'user_id': user}),)


# --- What the policy allows ---


def _cancel(desk: Desk, trip: Record) -> Demand | None:
  free = _is_free(trip)
  if not free and trip['insurance'] == 'no':
    return None
  why = desk.rng.choice(UNCOVERED if free else COVERED)
  return Demand(f'cancel {{}}, because {why}.',
                writes=(tau2_trips.to('cancel_reservation', trip),))


def _is_free(trip: Record) -> bool:
  """Whether the customer may cancel for no reason."""
  return (trip['cabin'] == 'business'
          or trip['created_at'] >= tau2_trips.YESTERDAY)


def _cancelled(desk: Desk, trip: Record) -> Demand | None:
  if tau2_trips.flown(desk, trip):
    return None
  return Demand('cancel {}, because the airline has cancelled a flight of it.',
                reads=_statuses(trip),
                writes=(tau2_trips.to('cancel_reservation', trip),))


def _statuses(trip: Record) -> tuple[types.ToolCall, ...]:
  return tuple(call('get_flight_status', f)
               for f in tau2_trips.bare(trip['flights']))


def _refund(desk: Desk, trip: Record) -> Demand | None:
  """A certificate for a cancelled flight."""
  if not tau2_trips.compensated(desk, trip):
    return None
  return Demand(
      'complain that a flight of {} was cancelled, and you ask for a '
      'compensation.', reads=_statuses(trip), writes=(_certificate(
          desk, tau2_trips.CANCELLED, trip),))


def _certificate(desk: Desk, amount: int, trip: Record) -> types.ToolCall:
  return call('send_certificate', dict(
      user_id=desk.user['user_id'], amount=amount * len(trip['passengers'])))


def _delayed(desk: Desk, trip: Record) -> Demand | None:
  """A certificate for a delayed flight, that is changed."""
  late = [k for k, leg in enumerate(tau2_trips.legs(trip)) if 'delayed' in
          tau2_trips.states(desk, {'flights': leg})]
  if (tau2_trips.flown(desk, trip) or not tau2_trips.compensated(desk, trip)
      or not (demand := _change(desk, trip, late[0]))):
    return None
  return dataclasses.replace(
      demand, reads=(*_statuses(trip), *demand.reads),
      writes=(*demand.writes, _certificate(desk, tau2_trips.DELAYED, trip)),
      want=f'{demand.want} As it is delayed, you also ask for a compensation.')


def _change(desk: Desk, trip: Record, leg: int | None = None) -> Demand | None:
  """The flights one way moved to another day; not in basic economy."""
  if trip['cabin'] == 'basic_economy':
    return None
  return _move(desk, trip, leg)


def _move(desk: Desk, trip: Record, leg: int | None = None) -> Demand | None:
  legs, cabin = tau2_trips.legs(trip), trip['cabin']
  people = len(trip['passengers'])
  k = desk.rng.randrange(len(legs)) if leg is None else leg
  date = tau2_trips.another_day(desk, legs, k)
  old, ends = legs[k], (legs[k][0]['origin'], legs[k][-1]['destination'])
  found = date and tau2_trips.route(desk, ends, date, cabin, people)
  if not found:
    return None
  new, words, search = found
  more = people * (sum(tau2_trips.price(desk, f, cabin, people) for f in new)
                   - sum(f['price'] for f in old))
  if not (payer := tau2_trips.payer(desk, more)):
    return None
  which = ('{}' if len(legs) == 1 else
           f'the {("outbound", "return")[k]} flights of {{}}')
  asks, facts = desk.ask(abs(more), 'the price difference in total')
  legs[k] = new
  return Demand(
      f'change {which} to {words}, in the same cabin. Use '
      f'{desk.method(payer)} for the difference.{asks}',
      reads=(search,), facts=facts, writes=(tau2_trips.to(
          'update_reservation_flights', trip, cabin=cabin,
          flights=tau2_trips.bare(sum(legs, [])), payment_id=payer),))


def _cabin(desk: Desk, trip: Record) -> Demand | None:
  found = tau2_trips.other_cabin(desk, trip)
  payer = found and tau2_trips.payer(desk, found[1])
  if not payer:
    return None
  cabin, more = found
  asks, facts = desk.ask(abs(more), 'what you pay or get back in total')
  return Demand(
      f'change the cabin of {{}} to {_words(cabin)} for everyone. Use '
      f'{desk.method(payer)} for the difference.{asks}', facts=facts,
      reads=_searches(trip), writes=(tau2_trips.to(
          'update_reservation_flights', trip, cabin=cabin,
          flights=tau2_trips.bare(trip['flights']), payment_id=payer),))


def _words(cabin: str) -> str:
  return cabin.replace('_', ' ')


def _searches(trip: Record) -> tuple[types.ToolCall, ...]:
  return tuple(call('search_direct_flight', {
      k: f[k] for k in ('origin', 'destination', 'date')})
               for f in trip['flights'])


def _bags(desk: Desk, trip: Record) -> Demand | None:
  more, people = desk.rng.randint(1, 3), len(trip['passengers'])
  total, paid = trip['total_baggages'] + more, trip['nonfree_baggages']
  fee = max(paid, total - people * tau2_trips.free_bags(desk, trip['cabin']))
  payer = tau2_trips.payer(desk, tau2_trips.BAG * (fee - paid))
  return payer and Demand(
      f'add {more} checked bag{"s" * (more > 1)} to {{}}. If there is a fee, '
      f'use {desk.method(payer)}.', writes=(tau2_trips.to(
          'update_reservation_baggages', trip, total_baggages=total,
          nonfree_baggages=fee, payment_id=payer),))


def _passenger(desk: Desk, trip: Record) -> Demand | None:
  people, new = list(trip['passengers']), tau2_trips.person(desk)
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
  return Demand(want, writes=(tau2_trips.to('update_reservation_passengers',
                                          trip, passengers=people),))


def _book(desk: Desk) -> Demand | None:
  flight = desk.rng.choice(list(desk.db['flights'].values()))
  ends, cabin = (flight['origin'], flight['destination']), desk.rng.choice(
      tau2_trips.CABINS)
  people = [{**desk.user['name'], 'dob': desk.user['dob']},
            *(tau2_trips.person(desk)
              for _ in range(desk.rng.choice((0, 0, 1, 2))))]
  there = tau2_trips.date_in(desk, 16, 24)
  found = [tau2_trips.route(desk, ends, there, cabin, len(people))]
  back = desk.rng.random() < 0.4
  if back:
    home = tau2_trips.date_in(desk, int(there[-2:]) + 1, 30)
    found.append(tau2_trips.route(desk, ends[::-1], home, cabin, len(people)))
  if not all(found):
    return None
  booking = dict(
      user_id=desk.user['user_id'], origin=ends[0], destination=ends[1],
      flight_type='round_trip' if back else 'one_way', cabin=cabin,
      flights=[f for leg, *_ in found for f in leg], passengers=people)
  ways = ', and back with '.join(words for _, words, _ in found)
  kind = 'a round trip' if back else 'a one-way trip'
  return _paid_booking(desk, booking, f'book {kind} with {ways}',
                       [search for *_, search in found])


def _paid_booking(desk: Desk, booking: Record, want: str,
                  reads: Sequence[types.ToolCall]) -> Demand | None:
  """A booking with luggage, insurance and payment."""
  people, cabin = booking['passengers'], booking['cabin']
  bags, insured = desk.rng.randint(0, 3), desk.rng.choice(('yes', 'no'))
  fee = max(0, bags - len(people) * tau2_trips.free_bags(desk, cabin))
  total = tau2_trips.BAG * fee + len(people) * (
      tau2_trips.INSURANCE * (insured == 'yes') + sum(
          tau2_trips.price(desk, f, cabin, len(people))
          for f in booking['flights']))
  if not (payment := tau2_trips.split(desk, total)):
    return None
  ways, settle = payment
  # Of a single payment, the agent names the amount anyway.
  asks, facts = desk.ask(total if ways[1:] else 0, 'the total price')
  who = tau2_tasks.listed(['yourself', *(
      f'{p["first_name"]} {p["last_name"]}, born {p["dob"]}'
      for p in people[1:])])
  ends = [tau2_trips.place(desk, booking[k])
          for k in ('origin', 'destination')]
  return Demand(
      f'{want}, from {ends[0]} to {ends[1]} in {_words(cabin)}. It is '
      f'for {who}. You take {bags or "no"} checked bag{"s" * (bags != 1)} in '
      f'all and want {"no " * (insured == "no")}travel insurance. {settle}'
      f'{asks}', reads=tuple(reads), facts=facts, writes=(
          call('book_reservation', dict(
              **booking, payment_methods=ways, total_baggages=bags,
              nonfree_baggages=fee, insurance=insured)),))


# --- Questions ---


def _paid(desk: Desk, trip: Record) -> Demand:
  return Demand('know how much you have paid in total for {}.', facts=(
      tau2_tasks.figure(sum(p['amount'] for p in trip['payment_history'])),))


def _quote(desk: Desk, trip: Record) -> Demand | None:
  found = tau2_trips.other_cabin(desk, trip)
  if not found or found[1] < 100:
    return None
  return Demand(
      f'know what it would cost in total to have {{}} in '
      f'{_words(found[0])} instead. You do not want to change it.',
      reads=_searches(trip), facts=(tau2_tasks.figure(found[1]),))


def _credit(desk: Desk) -> Demand | None:
  source = desk.rng.choice(('gift_card', 'certificate'))
  amounts = [m['amount'] for m in desk.user['payment_methods'].values()
             if m['source'] == source]
  if sum(amounts) < 100:
    return None
  kind = {'gift_card': 'gift cards', 'certificate': 'travel certificates'}
  return Demand(
      f'know, before anything else is done, how much is on all your '
      f'{kind[source]} together.', facts=(tau2_tasks.figure(sum(amounts)),))


# --- What the policy forbids: here, the writes must not be made ---


def _no_cancel(desk: Desk, trip: Record) -> Demand | None:
  if _is_free(trip):
    return None
  reasons = UNCOVERED if trip['insurance'] == 'yes' else UNCOVERED + COVERED
  return Demand(f'cancel {{}}, because {desk.rng.choice(reasons)}.',
                writes=(tau2_trips.to('cancel_reservation', trip),))


def _no_move(desk: Desk, trip: Record) -> Demand | None:
  """Basic economy."""
  return _move(desk, trip) if trip['cabin'] == 'basic_economy' else None


def _no_refund(desk: Desk, trip: Record) -> Demand | None:
  if tau2_trips.compensated(desk, trip):
    return None
  return Demand('complain that a flight of {} was cancelled, and you ask for a '
                'compensation.', reads=_statuses(trip), writes=(_certificate(
                    desk, tau2_trips.CANCELLED, trip),))


def _no_grumble(desk: Desk, trip: Record) -> Demand:
  why = desk.rng.choice(GRUMBLES)
  return Demand(f'be compensated for {{}}, because {why}.', writes=(
      _certificate(desk, tau2_trips.DELAYED, trip),))


def _no_fewer_bags(desk: Desk, trip: Record) -> Demand | None:
  payer, bags = tau2_trips.payer(desk, 0), trip['total_baggages'] - 1
  return bags >= 0 and payer and Demand(
      'take one checked bag off {} and get money back for it.', writes=(
          tau2_trips.to('update_reservation_baggages', trip,
                      total_baggages=bags, payment_id=payer,
                      nonfree_baggages=min(bags, trip['nonfree_baggages'])),))


def _no_fewer_people(desk: Desk, trip: Record) -> Demand | None:
  *people, out = trip['passengers']
  return people and Demand(
      f'take {out["first_name"]} {out["last_name"]} off {{}}; the others still '
      'fly.', writes=(tau2_trips.to('update_reservation_passengers', trip,
                                  passengers=people),))


def _no_insurance(desk: Desk, trip: Record) -> Demand | None:
  if trip['insurance'] == 'yes':
    return None
  return Demand('add travel insurance to {}, which you left out when you '
                'booked.')


def _flown(desk: Desk, trip: Record) -> Demand:
  """What has begun only a human may cancel."""
  return Demand(f'cancel {{}}, because {desk.rng.choice(UNCOVERED)}.',
                forbidden=(tau2_trips.to('cancel_reservation', trip),),
                transfer='The customer wants to cancel a trip that is partly '
                'flown.')


def _human(desk: Desk) -> Demand:
  want, why = desk.rng.choice(list(BEYOND.items()))
  return Demand(f'{want}.', transfer=why)


def _about(inner: Any, fit: Any = tau2_trips.upcoming, *, allowed: bool = True
           ) -> tau2_tasks.Family:
  """The family of a demand about a reservation that fits."""
  records = functools.partial(tau2_trips.fitting, fit=fit)
  return tau2_tasks.about(inner, records, tau2_trips.named, allowed=allowed)


def _not(inner: Any, fit: Any = tau2_trips.upcoming) -> tau2_tasks.Family:
  return _about(inner, fit, allowed=False)


FAMILIES: Mapping[str, tuple[int, tau2_tasks.Family]] = {
    'cancel': (12, _about(_cancel)),
    'cancelled': (4, _about(_cancelled, tau2_trips.hit_by('cancelled'))),
    'refund': (5, _about(_refund, tau2_trips.hit_by('cancelled'))),
    'delayed': (2, _about(_delayed, tau2_trips.hit_by('delayed'))),
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
    'no_refund': (4, _not(_no_refund, tau2_trips.hit_by('cancelled'))),
    'no_grumble': (3, _not(_no_grumble, tau2_trips.flown)),
    'no_fewer_bags': (3, _not(_no_fewer_bags)),
    'no_fewer_people': (3, _not(_no_fewer_people)),
    'no_insurance': (3, _not(_no_insurance)),
    'flown': (4, _about(_flown, tau2_trips.flown)),
    'human': (1, _human)}
