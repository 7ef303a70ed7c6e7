"""How a good agent and a customer talk through an airline task of tau2-bench.

No LLM: `solve` speaks for both sides, in words drawn at random. What the user
wants comes from the scenario and the gold calls; those say what is granted.
All that the agent puts into a call it was told or has looked up before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import dialogue as tau2_talk
from agentrl.eigendata.tau2.airline import words
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2

DIRECT, STOPS = 'search_direct_flight', 'search_onestop_flight'
EACH, KEEP = 'flight by flight', 'not at all'  # how else a way is looked up

Way = tuple[str, Sequence[words.Facts]]  # how it is looked up, the flights


class Talk(tau2_talk.Talk):
  """An airline dialogue under way.

  Attributes:
    text: the scenario.
    profile: of the user.
    seen: the reservations that the agent has looked up, as they are now.
    lead: what the agent has to say first when it speaks next.
  """

  def __init__(self, env: tau2.Tau2, task: types.Task, rng: random.Random):
    super().__init__(env, task, rng)
    self.text, self.lead, self._payment = task.scenario, '', ''
    self.profile, self.seen = {}, {}
    self._names, self._named, self._searched = {}, set(), set()

  def read(self) -> list[words.Wish]:
    """What the user wants; raises Unplayable if that is not understood."""
    user = re.search(r'[a-z]+_[a-z]+_\d+', self.text)
    try:
      self.profile = self.peek('get_user_details', user_id=user[0])
      own = {key: self.peek('get_reservation_details', reservation_id=key)
             for key in self.profile['reservations']}
      wishes = words.find_wishes(self.text, self.task.criteria.actions, own,
                                 airports=self.peek('list_all_airports'))
      self._names = {key: words.name(self.text, own, key, rng=self.rng)
                     for key in own}
    except (KeyError, TypeError, ValueError) as e:
      raise replay.Unplayable(f'The scenario is not understood: {e!r}') from e
    if not wishes or {key for w in wishes for key in w.keys} - {*own}:
      raise replay.Unplayable(f'These demands are not understood: {wishes}')
    return wishes

  def peek(self, tool: str, **arguments: Any) -> Any:
    """What a tool says, beside the dialogue: what users know by themselves."""
    call = types.ToolCall(tool, arguments, id='peek')
    return json.loads(self.world.execute([call])[0].content)

  def tell(self, name: str, *gaps: Any) -> None:
    """The agent speaks."""
    lead, self.lead = self.lead, ''
    self.say('assistant', words.SAY[name], *gaps, before=lead)

  def reply(self, name: str, *gaps: Any) -> None:
    """The user speaks."""
    text = self.rng.choice(words.SAY[name]).format(*gaps)
    self._named |= {key for key, known in self._names.items()
                    if key in text or known in text}
    self.say('user', ('{}',), text)

  def demand(self, wish: words.Wish) -> str:
    """A wish as the user puts it."""
    names = [f'reservation {key}' if key in self.seen else self._names[key]
             for key in wish.keys]
    which = wish.notes[0] if wish.kind == 'cancel' else ''
    return self.rng.choice(words.SAY[f'want {wish.kind}']).format(
        which or words.listed(names or ['']), *wish.notes)

  def find(self, key: str) -> words.Facts:
    """The agent finds the reservation that the user means."""
    if key not in self.seen:
      name, keys = self._names[key], self.profile['reservations']
      if key not in self._named:
        self.tell('ask reservation')
        self.reply(f'{"my" if key in name else "no"} reservation', name)
      direct = key in name or name == 'my last reservation'
      self.look(*([key] if direct else keys[:keys.index(key) + 1]))
    return self.seen[key]

  def look(self, *keys: str) -> None:
    """The agent looks up reservations (all: no keys) that it has not seen."""
    for key in keys or self.profile['reservations']:
      if key not in self.seen:
        self.seen[key] = json.loads(self.call(
            'assistant', 'get_reservation_details', reservation_id=key))

  def search(self, tool: str, *route: str) -> None:
    """The agent searches flights (from, to, date), if it did not yet."""
    if (tool, route) not in self._searched:
      self._searched.add((tool, route))
      self.call('assistant', tool,
                **dict(zip(('origin', 'destination', 'date'), route)))

  def calculate(self, expression: str) -> float:
    return float(self.call('assistant', 'calculate', expression=expression))

  def write(self, tool: str, args: Mapping[str, Any], text: str, *,
            report: str, why: str = '') -> None:
    """The agent says why it asks for a payment, proposes and does it."""
    if pay := args.get('payment_id', ''):
      text += f' Payment method: {pay}.'
    if pay != self._payment and pay:
      methods = self.profile['payment_methods'].values()
      self.tell('ask pay', ' or '.join(
          m['id'] for m in methods if m['source'] != 'certificate'), why)
      self.reply('pay', pay)
      self._payment = pay
    self.tell('confirm', text)
    self.reply('yes')
    result = self.call('assistant', tool, **args)
    if 'reservation_id' in result:
      trip = json.loads(result)
      self.seen[trip['reservation_id']] = trip
      report = report.format(trip['reservation_id'])
    self.lead = f'{report} '

  def refuse(self, name: str, *gaps: Any) -> None:
    """The agent declines, the user insists for a while and gives up."""
    self.tell(name, *gaps)
    extra = self.rng.sample(words.SAY['push'], self.rng.choice((0, 1, 1, 2)))
    for push in (words.pushes(self.text) + extra)[:3]:
      self.reply('text', push)
      self.tell('firm')
    self.reply('give up')


def solve(talk: Talk) -> dialogue.End:
  """Plays the whole dialogue, both sides; may raise `replay.Unplayable`."""
  wishes = talk.read()
  for i, wish in enumerate(wishes):
    if i:
      talk.tell('more')
      talk.reply('also', words.start(talk.demand(wish)))
    else:
      _open(talk, wish)
    _HANDLERS[wish.kind](talk, wish)
  if not talk.end:
    talk.tell('more')
    talk.reply('bye')
  return talk.end


def _open(talk: Talk, wish: words.Wish) -> None:
  """Until the agent has the profile of the user."""
  own, key = words.reason(wish.kind, talk.text), talk.profile['user_id']
  text = own if own and talk.rng.random() < 0.5 else talk.demand(wish)
  text = words.after(talk.rng.choice(words.SAY['hello']), text)
  if talk.rng.random() < 0.4:
    talk.reply('text', f'{text} My user id is {key}.')
  else:
    talk.reply('text', text)
    talk.tell('ask id')
    talk.reply('my id', key)
  talk.call('assistant', 'get_user_details', user_id=key)
  thanks = talk.rng.choice(words.SAY['thanks'])
  talk.lead = thanks.format(talk.profile['name']['first_name']) + ' '


def _inform(talk: Talk, wish: words.Wish) -> None:
  """The agent tells what the user wants to know."""
  if wish.kind == 'allowance':
    trip = talk.find(wish.keys[0])
    each, text = words.free_bags(talk.profile['membership'], trip)
    free = talk.calculate(f'{len(trip["passengers"])} * {each}')
    talk.lead += f'{text} You may bring {free:g} suitcases for free. '
  elif wish.kind == 'total':
    total = talk.calculate(' + '.join(
        str(p['amount']) for args in wish.notes for p in args['payment_methods']
        if p['payment_id'].startswith('credit_card')))
    talk.lead = f'In total, ${total:g} goes to your card. '
  elif wish.kind == 'upcoming':
    talk.look()
    ahead = {key: trip['payment_history'] for key, trip in talk.seen.items()
             if trip['flights'][0]['date'] > words.TODAY}
    total = talk.calculate(' + '.join(
        str(p['amount']) for paid in ahead.values() for p in paid))
    talk.lead += (f'Your upcoming reservations are {words.listed([*ahead])}, '
                  f'${total:g} in total. ')
  else:
    for source in ('gift_card', 'certificate'):
      total = talk.calculate(' + '.join(
          [f'{m["amount"]:g}' for m in talk.profile['payment_methods'].values()
           if m['source'] == source] or ['0']))
      talk.lead += f'Your {source.replace("_", " ")}s sum up to ${total:g}. '


def _refused(talk: Talk, wish: words.Wish) -> None:
  trips = [talk.find(key) for key in wish.keys]
  if not trips:
    talk.look()
  elif wish.kind == 'nonstop':
    talk.search(DIRECT, trips[0]['origin'], trips[0]['destination'],
                trips[0]['flights'][0]['date'])
  talk.refuse(f'no {wish.kind}', *wish.keys)


def _delay(talk: Talk, wish: words.Wish) -> None:
  """The user complains about a delay, and wants to be compensated."""
  trip = talk.find(wish.keys[0])
  named = [f for f in trip['flights'] if f['flight_number'] in talk.text]
  for flight in named or trip['flights']:
    status = talk.call('assistant', 'get_flight_status', date=flight['date'],
                       flight_number=flight['flight_number'])
    if status == 'delayed':
      break
  talk.tell('delayed', flight['flight_number'], status)
  talk.reply('compensate')
  level, n = talk.profile['membership'], len(trip['passengers'])
  if not wish.args:
    talk.refuse('no delay', level)
    return
  total = talk.calculate(f'50 * {n}')
  talk.write('send_certificate', wish.args, (
      f'As you are a {level} member, I can send a certificate of ${total:g}: '
      f'$50 a passenger, for {n}.'), report='The certificate is sent.')


def _cancel(talk: Talk, wish: words.Wish) -> None:
  granted = [a.arguments['reservation_id'] for a in talk.task.criteria.actions
             if a.name == 'cancel_reservation']
  if any(wish.notes):  # all of some kind
    talk.look()
  trips = {key: talk.find(key) for key in wish.keys}
  keys = [key for key in trips if key in granted]
  why = ' '.join(words.no_cancel(trip, talk.rng) for key, trip in trips.items()
                 if key not in granted)
  talk.tell('clashes' if wish.kind == 'clash' else 'ask reason')
  talk.reply('text', talk.rng.choice(words.because(
      talk.text, [trips[key] for key in keys])))
  if not keys:
    talk.refuse('text', why)
    return
  talk.lead = f'{why} ' if why else ''
  talk.tell('confirm', 'I can cancel and refund ' + words.listed([
      f'{key} ({trips[key]["origin"]}-{trips[key]["destination"]})'
      for key in keys]) + '.')
  talk.reply('yes')
  for key in keys:
    talk.call('assistant', 'cancel_reservation', reservation_id=key)
  talk.lead = (f'{words.listed(keys)} {"are" if keys[1:] else "is"} cancelled. '
               'The refund takes 5 to 7 business days. ')


def _change(talk: Talk, wish: words.Wish) -> None:
  """New flights, a new cabin, or both; not if that is too expensive."""
  trip, key = talk.find(wish.keys[0]), wish.keys[0]
  args = wish.args or {'cabin': 'business', 'flights': trip['flights']}
  n, cabin = len(trip['passengers']), args['cabin']
  ways = _ways(talk, trip, args['flights'], cabin)
  _ask_flights(talk, ways, cabin)
  old = ' + '.join(str(f['price']) for f in trip['flights'])
  cost = talk.calculate(f'{n} * (({_prices(ways, cabin)}) - ({old}))')
  text = (f'{key} will have {words.legs_of(args["flights"])} in '
          f'{words.cabin(cabin)}. {words.money(cost)}')
  if wish.args:
    talk.write('update_reservation_flights', args, text,
               report='{} is changed.', why=words.money(cost))
    return
  if cost <= wish.notes[0]:
    raise replay.Unplayable(f'Business costs ${cost:g}: not too much.')
  talk.tell('confirm', text)
  talk.reply('too dear', *wish.notes)


def _passengers(talk: Talk, wish: words.Wish) -> None:
  old, new = words.renamed(talk.find(wish.keys[0]), wish.args)
  talk.write('update_reservation_passengers', wish.args, (
      f'{old} of {wish.keys[0]} will be {new}.'), report='{} is changed.')


def _bags(talk: Talk, wish: words.Wish) -> None:
  args, trip = wish.args, talk.find(wish.keys[0])
  _, text = words.free_bags(talk.profile['membership'], trip)
  paid = args['nonfree_baggages'] - trip['nonfree_baggages']
  cost = words.money(talk.calculate(f'50 * {paid}'))
  talk.write('update_reservation_baggages', args, (
      f'{wish.keys[0]} will have {words.bags(args["total_baggages"])} in all. '
      f'{cost}'), report='The bags are added.', why=f'{text} {cost}')


def _ways(talk: Talk, trip: words.Facts, flights: Sequence[words.Facts],
          cabin: str) -> list[Way]:
  """How the agent looks up each way of a trip on the given flights."""
  a, b = trip['origin'], trip['destination']
  routes = [(a, b), (b, a)][:1 + (trip['flight_type'] == 'round_trip')]
  before, ends = trip['flights'], [f['destination'] for f in trip['flights']]
  out = ends.index(b) + 1 if b in ends else 0
  left, found = _ids(flights), []
  for route, old in zip(routes, (before[:out], before[out:])):
    if not old or left[:len(old)] != _ids(old):
      way = _way(talk, route, left)
    elif cabin == trip['cabin']:
      way = KEEP, old
    else:  # their prices in the new cabin
      way = EACH, [_way(talk, (f['origin'], f['destination']), _ids([f]))[1][0]
                   for f in old]
    found.append(way)
    left = left[len(way[1]):]
  return found


def _ids(legs: Sequence[words.Facts]) -> list[tuple[str, str]]:
  return [(leg['flight_number'], leg['date']) for leg in legs]


def _way(talk: Talk, route: Sequence[str], ids: Sequence[tuple[str, str]]
        ) -> Way:
  """The search that finds the first of the flights, and what it shows."""
  for tool in (DIRECT, STOPS) if ids else ():
    for legs in talk.peek(tool, origin=route[0], destination=route[1],
                          date=ids[0][1]):
      legs = [{**leg, 'date': leg['date'] or ids[0][1]}
              for leg in (legs if tool == STOPS else [legs])]
      if _ids(legs) == ids[:len(legs)]:
        return tool, legs
  raise replay.Unplayable(f'No search finds {ids}.')


def _ask_flights(talk: Talk, ways: Sequence[Way], cabin: str) -> None:
  """The user says which flights; the agent searches them."""
  wanted = [words.wanted(talk.text, legs, talk.rng) for how, legs in ways
            if how in (DIRECT, STOPS)]
  if wanted:
    talk.tell('ask flights')
    talk.reply('text', f'{"; ".join(wanted)}, in {words.cabin(cabin)}.')
  for how, legs in ways:
    for part in [[leg] for leg in legs] if how == EACH else [legs]:
      route = part[0]['origin'], part[-1]['destination'], part[0]['date']
      if how != KEEP:
        talk.search(DIRECT, *route)
      if how == STOPS:
        talk.search(STOPS, *route)


def _prices(ways: Sequence[Way], cabin: str) -> str:
  return ' + '.join(str(leg['price'] if how == KEEP else leg['prices'][cabin])
                    for how, legs in ways for leg in legs)


def _book(talk: Talk, wish: words.Wish) -> None:
  args, n = wish.args, len(wish.args['passengers'])
  ways = _ways(talk, {**args, 'flights': ()}, args['flights'], args['cabin'])
  if wish.kind == 'book':  # else all is as in the booking before
    _ask_flights(talk, ways, args['cabin'])
    talk.tell('ask travellers')
    talk.reply('travellers', words.people(args['passengers'], [
        {**talk.profile['name'], 'dob': talk.profile['dob']},
        *talk.profile['saved_passengers']]))
    talk.tell('ask extras')
    talk.reply('extras', args['total_baggages'], args['insurance'])
  fees = f' + 30 * {n}' * (args['insurance'] == 'yes') + (
      f' + 50 * {args["nonfree_baggages"]}' * bool(args['nonfree_baggages']))
  total = talk.calculate(f'{n} * ({_prices(ways, args["cabin"])}){fees}')
  talk.tell('ask payments', f'{total:g}')
  *first, last = (p['payment_id'] for p in args['payment_methods'])
  last = f'the rest with {last}' if first else last
  talk.reply('pay', words.listed([*first, last]))
  if first:
    amounts = [p['amount'] for p in args['payment_methods'][:-1]]
    paid = ' - '.join(map(str, amounts))
    if n > 1 and total / n > sum(amounts):
      one = talk.calculate(f'{total:g} / {n} - {paid}')
      talk.lead = f'${one:g} of the first ticket are left to pay. '
    talk.calculate(f'{total:g} - {paid}')
  talk.write('book_reservation', args, words.booking(args),
             report='Reservation {} is booked.')


def _transfer(talk: Talk, wish: words.Wish) -> None:
  talk.call('assistant', 'transfer_to_human_agents',
            summary=f'The user asks: {talk.demand(wish)}')
  talk.tell('hold')
  talk.reply('handed')


_HANDLERS = {
    'balances': _inform, 'upcoming': _inform, 'allowance': _inform,
    'total': _inform, 'remove': _refused, 'insurance': _refused,
    'basic': _refused, 'part': _refused, 'nonstop': _refused, 'bags': _bags,
    'cancelled': _refused, 'delay': _delay, 'clash': _cancel, 'cancel': _cancel,
    'flights': _change, 'cabin': _change, 'upgrade': _change, 'book': _book,
    'again': _book, 'passengers': _passengers, 'transfer': _transfer}
