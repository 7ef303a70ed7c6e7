"""Draws demands of one customer over the databases of airline and retail.

Shared by the domains' `tasks.py`, whose families follow the policy: allowed
demands become gold writes, forbidden ones refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import json
import random
from typing import Any

from agentrl import types
from agentrl.eigendata.tau2 import database
from agentrl.eigendata.tau2 import held_out
from agentrl.eigendata.tau2 import phrases
from agentrl.envs.tau2 import env as tau2_env

# Draws a demand for the customer of a desk; None if it does not suit.
DemandFamily = Callable[['Desk'], 'DrawnDemand | None']


@dataclasses.dataclass(frozen=True, slots=True)
class DrawnDemand:
  """Describes one demand of a customer.

  Attributes:
    want: the demand in words, as goes on after 'You want to'; sentences may
      follow.
    target: id of its order or reservation; a task has each target once.
    reads: look-ups that a good agent makes for it.
    writes: calls by which the agent grants it; () for questions and refusals.
    facts: facts that the agent must tell.
    forbidden: calls that the user asks for against the policy.
    transfer: reason why a human must take over; '' if none must.
    family: name of the family that drew it.
  """

  want: str
  target: str = ''
  reads: tuple[types.ToolCall, ...] = ()
  writes: tuple[types.ToolCall, ...] = ()
  facts: tuple[str, ...] = ()
  forbidden: tuple[types.ToolCall, ...] = ()
  transfer: str = ''
  family: str = ''


class Desk:
  """Holds a customer at the desk and the demands drawn so far.

  Attributes:
    rng: draws everything.
    db: table -> key -> record, in plain JSON; never changed.
    user: the customer's record.
    demands: demands drawn, no two with the same target.
    judged_on: the evaluation split; its customers are never drawn.
  """

  def __init__(self, env: tau2_env.Tau2, user: str, rng: random.Random,
               judged_on: str = 'test'):
    self.rng, self.db, self.demands = rng, database.tables(env), []
    self.user = self.db['users'][user]
    self._env, self.judged_on = env, judged_on

  def add(self, name: str, family: DemandFamily) -> bool:
    """Adds a demand of a family, if one suits the customer."""
    demand = family(self)
    if demand is None or any(
        demand.target and d.target == demand.target
        or demand.transfer and d.transfer for d in self.demands):
      return False
    self.demands.append(dataclasses.replace(demand, family=name))
    return True

  def look_up(self, tool: str, **arguments: Any) -> Any:
    """Returns the result of a tool in the first state."""
    call = types.ToolCall(tool, arguments)
    world = database.fresh_world(self._env)
    return json.loads(world.execute([call])[0].content)

  def stranger(self) -> str:
    """Draws another customer who may occur in tasks."""
    others = held_out.customers(self._env, self.judged_on)
    return self.rng.choice([u for u in others if u != self.user['user_id']])

  def pick(self, records: Sequence[Any]) -> Any:
    """Draws one of the records; None if there are none."""
    return self.rng.choice(records) if records else None

  def question(self, amount: float, words: str) -> tuple[str, tuple[str, ...]]:
    """Draws whether the user asks for an amount.

    Returns:
      the question and the facts that answer it; '' and () for none.
    """
    if amount < 10 or self.rng.random() < 0.75:  # '5' is said anyway
      return '', ()
    return f' You want to know {words}.', (phrases.figure(amount),)

  def method(self, key: str) -> str:
    """Returns the customer's words for a payment method."""
    methods = self.user['payment_methods']
    one = methods[key]
    kind = {'paypal': 'PayPal account'}.get(
        one['source'], one['source'].replace('_', ' '))
    if sum(m['source'] == one['source'] for m in methods.values()) == 1:
      return f'your {kind}'
    if 'last_four' in one and self.rng.random() < 0.5:
      return f'your {kind} ending in {one["last_four"]}'
    return f'your {kind} {key}'


def about_record(
    inner: Callable[[Desk, Any], DrawnDemand | None],
    records: Callable[[Desk], Sequence[Any]],
    named: Callable[[Desk, Any], tuple[str, str, Sequence[Any]]], *,
    allowed: bool = True) -> DemandFamily:
  """Makes a family of demands about one record of the customer.

  Args:
    inner: draws the demand about a record, with a gap for its name.
    records: returns the records that the demand can be about.
    named: returns the id of a record, the user's name of it, and the look-ups
      that find it.
    allowed: whether the policy allows it. If not, the writes of `inner` are
      forbidden.
  """
  def family(desk: Desk) -> DrawnDemand | None:
    record = desk.pick(records(desk))
    demand = record and inner(desk, record)
    # A customer who is refused is not told the price.
    if not demand or demand.facts and not allowed:
      return None
    key, words, reads = named(desk, record)
    demand = dataclasses.replace(
        demand, target=key, want=demand.want.format(words),
        reads=(*reads, *demand.reads))
    return demand if allowed else dataclasses.replace(
        demand, writes=(), forbidden=demand.writes)
  return family
