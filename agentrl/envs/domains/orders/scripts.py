"""Parts of the scripted exchange about an order; `tasks.py` composes them."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import random
from typing import Any

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs.domains.orders import state as shop

MORE = (' Anything else?', ' What else can I do?', ' Is there more?', '')
BY_THING = 0.3  # share of orders called by color and item where that is unique
STRANGE = ('cancel', 'give_back', 'move')  # families with orders of others
STRANGE_SHARE = 0.06

# Requests of users. As in the goal, the wish stands right before the order; none
# gives the outcome away.
ASKS = {
    'cancel': ('I want to cancel {o}.', 'Please cancel {o}.',
               'Can you cancel {o}?', 'I have to cancel {o}.'),
    'undo': ('I want to cancel {o}.', 'Please cancel {o}.',
             'Can you cancel {o}?', 'I have to cancel {o}.'),
    'give_back': ('I want to return {o}.', 'I would like to return {o}.',
                  'Can I return {o}?'),
    'exchange': ('I want to exchange {o} for {to}.',
                 'Please exchange {o} for {to}.',
                 'Can you exchange {o} for {to}?'),
    'move': ('Please send {o} to {to}.', 'Can you send {o} to {to}?',
             'I moved, so send {o} to {to}.'),
    'repay': ('I want to pay {o} by {to}.', 'Can I pay {o} by {to}?',
              'Let me pay {o} by {to}, please.'),
    'charged': ('Was I charged twice for {o}?', 'I think I paid twice for {o}.',
                'I see two charges, I paid twice for {o}.'),
    'parcel': ('Where is {o}?', 'Tell me, where is {o}?',
               'I am waiting, where is {o}?'),
    'damaged': ('I got {o} damaged.', 'I am sad, I got {o} damaged.',
                'Look, I got {o} damaged.'),
}


def user(*variants: str) -> types.Beat:
  return domain.says('user', *variants)


def agent(*variants: str) -> types.Beat:
  return domain.says('assistant', *variants)


def call(name: str, /, **arguments: Any) -> types.Beat:
  return domain.calls('assistant', name, **arguments)


YES = user('Yes, please.', 'Yes.', 'Yes, go ahead.', 'Please do.',
           'Yes, that is fine.')


@dataclasses.dataclass
class OrderScript:
  """A scripted exchange about one order, as far as it is written.

  Attributes:
    family: name of the function that drafts it.
    state: the database at its start.
    caller: full name of the customer.
    key: id of the order.
    name: name of the order in the scenario.
    about: words said by the user so far that they had to say.
    beats: the exchange so far.
    pressed: calls that the customer may press for.
  """

  family: str
  state: state_lib.State
  caller: str
  key: str
  name: str
  about: tuple[str, ...]
  beats: list[types.Beat] = dataclasses.field(default_factory=list)
  pressed: list[types.Beat] = dataclasses.field(default_factory=list)

  @property
  def order(self) -> state_lib.Record:
    return self.state.get('orders', self.key)

  @property
  def payment(self) -> state_lib.Record:
    return self.state.get('payments', self.key)

  @property
  def age(self) -> int:
    """Days since the order got its status."""
    return shop.TODAY - self.order['day']

  @property
  def gold(self) -> bool:
    return self.state.get('customers', self.caller)['tier'] == 'gold'

  @property
  def strange(self) -> bool:
    return self.order['customer'] != self.caller

  @property
  def late(self) -> bool:
    """Returns whether it is too late for a return or an exchange."""
    return self.age > (30 if self.gold else 14)

  def ask(self, to: str = '') -> None:
    """Adds the user's request and the agent's look at the order.

    Args:
      to: fills `{to}` of the texts in `ASKS`; '' where they have none.
    """
    if to:
      self.about += (to,)
    look = call('get_order', order=self.key)
    if not self.name.endswith(self.key):
      thing = f'{self.order["color"]} {self.order["item"]}'
      look = call('find_order', name=self.caller, what=thing)
    asks = (a.format(o=self.name, to=to) for a in ASKS[self.family])
    self.add(user(*asks), look)

  def add(self, *beats: types.Beat) -> None:
    self.beats += beats

  def forbid(self, name: str, /, **arguments: Any) -> None:
    """Forbids a call that users may press for, unless the script makes it."""
    self.pressed.append(call(name, **arguments))

  def not_theirs(self, goal: str) -> domain.Demand:
    """Returns the demand after a refusal: the order is another customer's."""
    return self.end(
        goal, f'I am sorry, {self.key} is not on your account.',
        f'Order {self.key} is not on your account, I cannot touch it.',
        f'I cannot do that, {self.key} is not on your account.',
        tell=('account',), kind='refuse')

  def end(self, goal: str, *reports: str, tell: tuple[str, ...],
          kind: str = 'do', answers: tuple[str, ...] = ()) -> domain.Demand:
    """Returns the finished demand.

    Args:
      goal: see `domain.Demand`, as the last three.
      *reports: variants of the agent's report.
      tell: facts in every report.
      kind: kind of the demand.
      answers: words that the user must say once asked.
    """
    if kind != 'transfer':
      reports = tuple(r + MORE[i % 4] for i, r in enumerate(reports * 2))
    if kind == 'refuse':
      self.forbid('transfer_to_human', reason='damaged')
    return domain.Demand(
        self.family, goal, (*self.beats, agent(*reports)), self.about, tell,
        kind, answers, tuple(w for w in self.pressed if w not in self.beats))


def agree(*offers: str) -> tuple[types.Beat, types.Beat]:
  """Returns beats: the agent names its next action, the user says yes."""
  return agent(*offers), YES


def start(family: str, state: state_lib.State, caller: str,
          rng: random.Random, weights: Mapping[str, float]
          ) -> OrderScript | None:
  """Draws an order and starts a script about it.

  Args:
    family: name of the function that drafts it.
    state: the database.
    caller: full name of the customer.
    rng: draws the order.
    weights: weight of each status that the order may have.

  Returns:
    the script; None if there is no such order that this dialogue left alone.
  """
  mine = state.get('customers', caller)['orders']
  strange = family in STRANGE and rng.random() < STRANGE_SHARE
  keys = mine
  if strange:
    keys = [k for k, _ in state.rows('orders') if k not in mine]
  status = rng.choices(list(weights), weights.values())[0]
  touched = {path.split('.')[1] for path in state.changes()}
  fit = [k for k in keys if state.get('orders', k)['status'] == status
         and k not in touched]
  if not fit:
    return None
  key = rng.choice(fit)
  order = state.get('orders', key)
  alike = [k for k in mine if state.get('orders', k)['item'] == order['item']]
  name = f'order {key}'
  if alike == [key] and rng.random() < BY_THING:
    name = f'the {order["color"]} {order["item"]}'
  about = name.removeprefix('order ').removeprefix('the ')
  return OrderScript(family, state, caller, key, name, (about,))
