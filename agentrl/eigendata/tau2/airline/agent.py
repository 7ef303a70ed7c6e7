"""Plays a good agent and a customer through an airline task of tau2-bench.

No LLM takes part: `solve` speaks for both sides, in words drawn at random. The
user's requests come from the scenario and the gold calls; those decide which
are granted. The agent calls only with values it was told or has looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import dialogue as tau2_dialogue
from agentrl.eigendata.tau2 import phrases
from agentrl.eigendata.tau2.airline import records
from agentrl.eigendata.tau2.airline import user
from agentrl.eigendata.tau2.airline import words
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2_env

DIRECT, STOPS = 'search_direct_flight', 'search_onestop_flight'
EACH, KEEP = 'flight by flight', 'not at all'  # other look-ups of a way

Request, Way = user.AirlineRequest, records.Way


class AirlineDialogue(tau2_dialogue.ScriptedDialogue):
  """Plays an airline dialogue under way.

  Attributes:
    text: the scenario.
    profile: the user's record.
    seen: reservations that the agent has looked up, in their current state.
    lead: words that open the agent's next message.
  """

  def __init__(self, env: tau2_env.Tau2, task: types.Task, rng: random.Random):
    super().__init__(env, task, rng)
    self.text, self.lead, self._payment = task.scenario, '', ''
    self.profile, self.seen = {}, {}
    self._names, self._named, self._searched = {}, set(), set()

  def read(self) -> list[Request]:
    """Reads the user's requests; raises Unplayable if they are unclear."""
    user_id = re.search(r'[a-z]+_[a-z]+_\d+', self.text)
    try:
      self.profile = self.peek('get_user_details', user_id=user_id[0])
      own = {key: self.peek('get_reservation_details', reservation_id=key)
             for key in self.profile['reservations']}
      requests = user.find_requests(
          self.text, self.task.criteria.actions, own,
          airports=self.peek('list_all_airports'))
      self._names = {key: user.name_of(self.text, own, key, rng=self.rng)
                     for key in own}
    except (KeyError, TypeError, ValueError) as e:
      raise replay.Unplayable(f'The scenario is not understood: {e!r}') from e
    if not requests or {key for w in requests for key in w.keys} - {*own}:
      raise replay.Unplayable(f'These demands are not understood: {requests}')
    return requests

  def peek(self, tool: str, **arguments: Any) -> Any:
    """Calls a tool outside the dialogue, for the user's own knowledge."""
    call = types.ToolCall(tool, arguments, id='peek')
    return json.loads(self.world.execute([call])[0].content)

  def tell(self, name: str, *gaps: Any) -> None:
    """Lets the agent speak."""
    lead, self.lead = self.lead, ''
    self.say('assistant', words.SAY[name], *gaps, before=lead)

  def reply(self, name: str, *gaps: Any) -> None:
    """Lets the user speak."""
    text = self.rng.choice(words.SAY[name]).format(*gaps)
    self._named |= {key for key, known in self._names.items()
                    if key in text or known in text}
    self.say('user', ('{}',), text)

  def demand(self, request: Request) -> str:
    """Puts a request into the user's words."""
    names = [f'reservation {key}' if key in self.seen else self._names[key]
             for key in request.keys]
    which = request.notes[0] if request.kind == 'cancel' else ''
    return self.rng.choice(words.SAY[f'want {request.kind}']).format(
        which or phrases.listed(names or ['']), *request.notes)

  def find(self, key: str) -> records.Record:
    """Lets the agent find the reservation that the user means."""
    if key not in self.seen:
      name, keys = self._names[key], self.profile['reservations']
      if key not in self._named:
        self.tell('ask reservation')
        self.reply(f'{"my" if key in name else "no"} reservation', name)
      direct = key in name or name == 'my last reservation'
      self.look(*([key] if direct else keys[:keys.index(key) + 1]))
    return self.seen[key]

  def look(self, *keys: str) -> None:
    """Lets the agent look up reservations, all without keys, if unseen."""
    for key in keys or self.profile['reservations']:
      if key not in self.seen:
        self.seen[key] = json.loads(self.call(
            'assistant', 'get_reservation_details', reservation_id=key))

  def search(self, tool: str, *route: str) -> None:
    """Lets the agent search flights (from, to, date), each only once."""
    if (tool, route) not in self._searched:
      self._searched.add((tool, route))
      self.call('assistant', tool,
                **dict(zip(('origin', 'destination', 'date'), route)))

  def calculate(self, expression: str) -> float:
    return float(self.call('assistant', 'calculate', expression=expression))

  def write(self, tool: str, args: Mapping[str, Any], text: str, *,
            report: str, why: str = '') -> None:
    """Lets the agent settle the payment, propose a call and make it."""
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
    """Lets the agent decline; the user insists for a while and gives up."""
    self.tell(name, *gaps)
    extra = self.rng.sample(words.SAY['push'], self.rng.choice((0, 1, 1, 2)))
    for push in (user.objections(self.text) + extra)[:3]:
      self.reply('text', push)
      self.tell('firm')
    self.reply('give up')


def solve(chat: AirlineDialogue) -> dialogue.End:
  """Plays the whole dialogue, both sides; may raise `replay.Unplayable`."""
  requests = chat.read()
  for i, request in enumerate(requests):
    if i:
      chat.tell('more')
      chat.reply('also', words.capitalized(chat.demand(request)))
    else:
      _open(chat, request)
    _HANDLERS[request.kind](chat, request)
  if not chat.end:
    chat.tell('more')
    chat.reply('bye')
  return chat.end


def _open(chat: AirlineDialogue, request: Request) -> None:
  """Plays the beginning, until the agent has the profile of the user."""
  own, key = user.reason(request.kind, chat.text), chat.profile['user_id']
  text = own if own and chat.rng.random() < 0.5 else chat.demand(request)
  text = words.after(chat.rng.choice(words.SAY['hello']), text)
  if chat.rng.random() < 0.4:
    chat.reply('text', f'{text} My user id is {key}.')
  else:
    chat.reply('text', text)
    chat.tell('ask id')
    chat.reply('my id', key)
  chat.call('assistant', 'get_user_details', user_id=key)
  thanks = chat.rng.choice(words.SAY['thanks'])
  chat.lead = thanks.format(chat.profile['name']['first_name']) + ' '


def _inform(chat: AirlineDialogue, request: Request) -> None:
  """Lets the agent tell the numbers that the user asks for."""
  if request.kind == 'allowance':
    trip, level = chat.find(request.keys[0]), chat.profile['membership']
    free = chat.calculate(f'{len(trip["passengers"])} * '
                          f'{records.free_bags(level, trip["cabin"])}')
    chat.lead += (f'{words.free_bags(level, trip)} You may bring {free:g} '
                  'suitcases for free. ')
  elif request.kind == 'total':
    total = chat.calculate(' + '.join(
        str(p['amount']) for args in request.notes
        for p in args['payment_methods']
        if p['payment_id'].startswith('credit_card')))
    chat.lead = f'In total, ${total:g} goes to your card. '
  elif request.kind == 'upcoming':
    chat.look()
    ahead = {key: trip['payment_history'] for key, trip in chat.seen.items()
             if trip['flights'][0]['date'] > records.TODAY}
    total = chat.calculate(' + '.join(
        str(p['amount']) for paid in ahead.values() for p in paid))
    chat.lead += (f'Your upcoming reservations are {phrases.listed([*ahead])}, '
                  f'${total:g} in total. ')
  else:
    for source in ('gift_card', 'certificate'):
      total = chat.calculate(' + '.join(
          [f'{m["amount"]:g}' for m in chat.profile['payment_methods'].values()
           if m['source'] == source] or ['0']))
      chat.lead += f'Your {source.replace("_", " ")}s sum up to ${total:g}. '


def _refused(chat: AirlineDialogue, request: Request) -> None:
  trips = [chat.find(key) for key in request.keys]
  if not trips:
    chat.look()
  elif request.kind == 'nonstop':
    chat.search(DIRECT, trips[0]['origin'], trips[0]['destination'],
                trips[0]['flights'][0]['date'])
  chat.refuse(f'no {request.kind}', *request.keys)


def _delay(chat: AirlineDialogue, request: Request) -> None:
  """Plays a complaint about a delay, with a demand for compensation."""
  trip = chat.find(request.keys[0])
  named = [f for f in trip['flights'] if f['flight_number'] in chat.text]
  for flight in named or trip['flights']:
    status = chat.call('assistant', 'get_flight_status', date=flight['date'],
                       flight_number=flight['flight_number'])
    if status == 'delayed':
      break
  chat.tell('delayed', flight['flight_number'], status)
  chat.reply('compensate')
  level, n = chat.profile['membership'], len(trip['passengers'])
  if not request.args:
    chat.refuse('no delay', level)
    return
  total = chat.calculate(f'50 * {n}')
  chat.write('send_certificate', request.args,
             words.certificate(level, total, n),
             report='The certificate is sent.')


def _cancel(chat: AirlineDialogue, request: Request) -> None:
  granted = [a.arguments['reservation_id'] for a in chat.task.criteria.actions
             if a.name == 'cancel_reservation']
  if any(request.notes):  # all reservations of some kind
    chat.look()
  trips = {key: chat.find(key) for key in request.keys}
  keys = [key for key in trips if key in granted]
  why = ' '.join(words.no_cancel(trip, chat.rng) for key, trip in trips.items()
                 if key not in granted)
  chat.tell('clashes' if request.kind == 'clash' else 'ask reason')
  chat.reply('text', chat.rng.choice(user.cancel_reasons(
      chat.text, [trips[key] for key in keys])))
  if not keys:
    chat.refuse('text', why)
    return
  chat.lead = f'{why} ' if why else ''
  chat.tell('confirm', 'I can cancel and refund ' + phrases.listed(
      f'{key} ({trips[key]["origin"]}-{trips[key]["destination"]})'
      for key in keys) + '.')
  chat.reply('yes')
  for key in keys:
    chat.call('assistant', 'cancel_reservation', reservation_id=key)
  chat.lead = words.cancelled(keys)


def _change(chat: AirlineDialogue, request: Request) -> None:
  """Plays a change of flights or cabin; none if it is too expensive."""
  trip, key = chat.find(request.keys[0]), request.keys[0]
  args = request.args or {'cabin': 'business', 'flights': trip['flights']}
  n, cabin = len(trip['passengers']), args['cabin']
  ways = _ways(chat, trip, args['flights'], cabin)
  _ask_flights(chat, ways, cabin)
  old = ' + '.join(str(f['price']) for f in trip['flights'])
  new = records.price_terms(ways, cabin)
  cost = chat.calculate(f'{n} * (({new}) - ({old}))')
  text = (f'{key} will have {words.legs_of(args["flights"])} in '
          f'{words.cabin(cabin)}. {words.money(cost)}')
  if request.args:
    chat.write('update_reservation_flights', args, text,
               report='{} is changed.', why=words.money(cost))
    return
  if cost <= request.notes[0]:
    raise replay.Unplayable(f'Business costs ${cost:g}: not too much.')
  chat.tell('confirm', text)
  chat.reply('too dear', *request.notes)


def _passengers(chat: AirlineDialogue, request: Request) -> None:
  old, new = words.renamed(chat.find(request.keys[0]), request.args)
  chat.write('update_reservation_passengers', request.args, (
      f'{old} of {request.keys[0]} will be {new}.'), report='{} is changed.')


def _bags(chat: AirlineDialogue, request: Request) -> None:
  args, trip = request.args, chat.find(request.keys[0])
  paid = args['nonfree_baggages'] - trip['nonfree_baggages']
  cost = words.money(chat.calculate(f'50 * {paid}'))
  total = words.bags(args['total_baggages'])
  chat.write('update_reservation_baggages', args, (
      f'{request.keys[0]} will have {total} in all. {cost}'),
             report='The bags are added.', why=words.free_bags(
                 chat.profile['membership'], trip) + f' {cost}')


def _ways(chat: AirlineDialogue, trip: records.Record,
          flights: Sequence[records.Record], cabin: str) -> list[Way]:
  """Finds the agent's look-up for each way of a trip on the given flights."""
  a, b = trip['origin'], trip['destination']
  routes = [(a, b), (b, a)][:1 + (trip['flight_type'] == 'round_trip')]
  before, ends = trip['flights'], [f['destination'] for f in trip['flights']]
  out = ends.index(b) + 1 if b in ends else 0
  left, ways = records.flight_ids(flights), []
  for route, old in zip(routes, (before[:out], before[out:])):
    if not old or left[:len(old)] != records.flight_ids(old):
      way = _way(chat, route, left)
    elif cabin == trip['cabin']:
      way = KEEP, old
    else:  # their prices in the new cabin
      way = EACH, [_way(chat, (f['origin'], f['destination']), [key])[1][0]
                   for f, key in zip(old, records.flight_ids(old))]
    ways.append(way)
    left = left[len(way[1]):]
  return ways


def _way(chat: AirlineDialogue, route: Sequence[str],
         ids: Sequence[tuple[str, str]]) -> Way:
  """Finds the search that shows the first of the flights, and its result."""
  for tool in (DIRECT, STOPS) if ids else ():
    for legs in chat.peek(tool, origin=route[0], destination=route[1],
                          date=ids[0][1]):
      legs = [{**leg, 'date': leg['date'] or ids[0][1]}
              for leg in (legs if tool == STOPS else [legs])]
      if records.flight_ids(legs) == ids[:len(legs)]:
        return tool, legs
  raise replay.Unplayable(f'No search finds {ids}.')


def _ask_flights(chat: AirlineDialogue, ways: Sequence[Way],
                 cabin: str) -> None:
  """Lets the user describe the flights and the agent search them."""
  wanted = [user.wanted_flights(chat.text, legs, chat.rng)
            for how, legs in ways if how in (DIRECT, STOPS)]
  if wanted:
    chat.tell('ask flights')
    chat.reply('text', f'{"; ".join(wanted)}, in {words.cabin(cabin)}.')
  for how, legs in ways:
    for part in [[leg] for leg in legs] if how == EACH else [legs]:
      route = part[0]['origin'], part[-1]['destination'], part[0]['date']
      if how != KEEP:
        chat.search(DIRECT, *route)
      if how == STOPS:
        chat.search(STOPS, *route)


def _book(chat: AirlineDialogue, request: Request) -> None:
  args, n = request.args, len(request.args['passengers'])
  ways = _ways(chat, {**args, 'flights': ()}, args['flights'], args['cabin'])
  if request.kind == 'book':  # else all details are those of the last booking
    _ask_flights(chat, ways, args['cabin'])
    chat.tell('ask travellers')
    chat.reply('travellers', words.people(args['passengers'], [
        {**chat.profile['name'], 'dob': chat.profile['dob']},
        *chat.profile['saved_passengers']]))
    chat.tell('ask extras')
    chat.reply('extras', args['total_baggages'], args['insurance'])
  fees = f' + 30 * {n}' * (args['insurance'] == 'yes') + (
      f' + 50 * {args["nonfree_baggages"]}' * bool(args['nonfree_baggages']))
  new = records.price_terms(ways, args['cabin'])
  total = chat.calculate(f'{n} * ({new}){fees}')
  chat.tell('ask payments', f'{total:g}')
  *first, last = (p['payment_id'] for p in args['payment_methods'])
  last = f'the rest with {last}' if first else last
  chat.reply('pay', phrases.listed([*first, last]))
  if first:
    amounts = [p['amount'] for p in args['payment_methods'][:-1]]
    paid = ' - '.join(map(str, amounts))
    if n > 1 and total / n > sum(amounts):
      one = chat.calculate(f'{total:g} / {n} - {paid}')
      chat.lead = f'${one:g} of the first ticket are left to pay. '
    chat.calculate(f'{total:g} - {paid}')
  chat.write('book_reservation', args, words.booking(args),
             report='Reservation {} is booked.')


def _transfer(chat: AirlineDialogue, request: Request) -> None:
  chat.call('assistant', 'transfer_to_human_agents',
            summary=f'The user asks: {chat.demand(request)}')
  chat.tell('hold')
  chat.reply('handed')


_HANDLERS = {
    'balances': _inform, 'upcoming': _inform, 'allowance': _inform,
    'total': _inform, 'remove': _refused, 'insurance': _refused,
    'basic': _refused, 'part': _refused, 'nonstop': _refused, 'bags': _bags,
    'cancelled': _refused, 'delay': _delay, 'clash': _cancel, 'cancel': _cancel,
    'flights': _change, 'cabin': _change, 'upgrade': _change, 'book': _book,
    'again': _book, 'passengers': _passengers, 'transfer': _transfer}
