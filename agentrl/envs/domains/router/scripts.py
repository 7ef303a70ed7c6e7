"""Writes scripted exchanges, and the parts of them that families share.

A part returns the ending of the demand, or None if the exchange goes on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools as tools_lib
from agentrl.envs.domains.router import phrases
from agentrl.envs.domains.router import state as database
from agentrl.envs.domains.router import tools

_TOOLS = {'assistant': tools_lib.by_name(tools.AGENT),
          'user': tools_lib.by_name(tools.USER)}


class Ending(NamedTuple):
  """The end of a demand: its kind, and the facts that the agent must tell."""

  kind: str
  tell: tuple[str, ...]


class AccountScript:
  """An exchange with one caller, played on the state while it is written."""

  def __init__(self, state: state_lib.State, caller: str):
    self.state, self.account = state, caller
    self._before, self._beats, self._pressed = state.mark(), [], []

  @property
  def home(self) -> state_lib.Record:
    return self.state.get('accounts', self.account)

  @property
  def line(self) -> state_lib.Record:
    return self.state.get('lines', self.account)

  @property
  def device(self) -> state_lib.Record:
    return self.state.get('devices', self.home['router'])

  @property
  def visit(self) -> state_lib.Record:
    return self.state.get('visits', self.account)

  @property
  def free_days(self) -> str:
    return ', '.join(map(str, self.visit['free']))

  def changed(self, field: str) -> bool:
    """Returns whether an earlier demand has changed this account field."""
    return f'accounts.{self.account}.{field}' in self.state.changes()

  def user(self, phrase: str, **facts: Any) -> None:
    """Adds words of the user, from `phrases.USER`."""
    said = (text.format(**facts) for text in phrases.USER[phrase])
    self._beats.append(domain.says('user', *said))

  def agent(self, phrase: str, **facts: Any) -> None:
    """Adds words of the agent, from `phrases.AGENT`."""
    said = (text.format(account=self.account, **facts)
            for text in phrases.AGENT[phrase])
    self._beats.append(domain.says('assistant', *said))

  def ask(self, phrase: str, **facts: Any) -> None:
    """Adds an offer of the agent and the user's yes."""
    self.agent(phrase, **facts)
    self.user('yes')

  def call(self, tool: str, by: types.Side = 'assistant', **kw: Any) -> str:
    """Adds and makes a call; returns its result.

    Raises:
      ValueError: the call is refused.
    """
    result = tools_lib.call(_TOOLS[by], self.state, types.ToolCall(
        tool, kw, requestor=by))
    if result.error:
      raise ValueError(f'The script calls {tool}({kw}): {result.content} '
                       'Make the family look at the state first.')
    self._beats.append(domain.calls(by, tool, **kw))
    return result.content

  def forbid(self, tool: str, **kw: Any) -> None:
    """Forbids a call that callers may press for, unless the script makes it."""
    self._pressed.append(domain.calls('assistant', tool, **kw))

  def send(self, tool: str, **kw: Any) -> str:
    """Adds a call that the agent asks the user for, and the user's report.

    Returns:
      the result of the call.
    """
    self.agent(tool, **kw)
    shown = self.call(tool, 'user', router=self.home['router'], **kw)
    self.user('shown', shown=shown)
    return shown

  def demand(self, family: str, goal: str, end: Ending,
             about: tuple[str, ...] = ()) -> domain.Demand:
    """Rewinds the state to its start; returns the finished demand."""
    self.state.rewind(self._before)
    kind, tell = end
    if kind == 'refuse':
      self.forbid('transfer_to_human', reason='billing')
    return domain.Demand(
        family, goal, tuple(self._beats), about, tell, kind,
        forbidden=tuple(w for w in self._pressed if w not in self._beats))


def start(state: state_lib.State, caller: str) -> AccountScript | None:
  """Starts a script; None if the caller was handed over to a human."""
  transferred = state.get('desk', 'call')['transfer']
  return None if transferred else AccountScript(state, caller)


def transfer(script: AccountScript, reason: str, why: str) -> Ending:
  """Hands the caller over; `why` is the agent's explanation."""
  script.call('transfer_to_human', reason=reason)
  script.agent('handed over', why=why)
  return Ending('transfer', ('human',))


def blocked(script: AccountScript) -> Ending | None:
  """Hands the caller over if the account is blocked."""
  if script.home['status'] != 'blocked':
    return None
  if script.home['due']:
    script.forbid('pay_bill', account=script.account, amount=script.home['due'])
  return transfer(script, 'abuse', 'Your account is blocked')


def settle(script: AccountScript) -> Ending | None:
  """Asks the caller to pay the bill, if there is one."""
  due = script.home['due']
  if not due:
    return None
  script.forbid('pay_bill', account=script.account, amount=due)
  if script.home['card'] == 'expired':
    return transfer(script, 'card',
                    f'There is a bill of {due}, and your card is expired')
  script.agent('settle', due=due)
  if not script.home['pays']:
    script.user('pays not')
    script.agent('still due', due=due)
    return Ending('refuse', (f'bill of {due}',))
  script.user('pays')
  script.call('pay_bill', account=script.account, amount=due)
  if script.home['status'] == 'suspended':
    script.call('resume_service', account=script.account)
  return None


def reopen(script: AccountScript) -> Ending | None:
  """Activates an account that is not active; its bill comes first."""
  if script.home['status'] == 'active':
    return None
  if end := settle(script):
    return end
  if script.home['status'] == 'paused':
    script.ask('resume')
    script.call('resume_service', account=script.account)
  return None


def mend_line(script: AccountScript) -> Ending | None:
  """Measures the line, and resets it if its signal is bad."""
  script.forbid('reset_line', account=script.account)
  script.call('line_status', account=script.account)
  line = script.line
  if line['area'] == 'outage':
    script.agent('outage', back=line['back'])
    return Ending('refuse', ('outage', f'day {line["back"]}'))
  if line['signal'] != 'ok':
    script.ask('reset', signal=line['signal'])
    script.call('reset_line', account=script.account)
  return None


def mend_router(script: AccountScript, day: int) -> Ending | None:
  """Makes one repair, chosen by the lights of the router."""
  match script.send('look_at_lights'):
    case 'power off, line off':
      script.send('press_power')
    case 'power green, line off':
      if script.send('check_cable') == 'cable torn':
        return technician(script, day, 'cable is torn')
      script.send('replug_cable')
    case 'power green, line red':
      if script.send('reboot_router') == 'power green, line red':
        return technician(script, day, 'router is broken')
    case _:
      mend_wifi(script)
  return None


def mend_wifi(script: AccountScript) -> None:
  """Mends all that is wrong with the wifi."""
  script.send('check_wifi')
  device = script.device
  if device['wifi'] == 'off':
    script.send('press_wifi')
  if device['airplane'] == 'on':
    script.send('toggle_airplane')
  if device['channel'] in device['busy']:
    free = [c for c in database.CHANNELS if c not in device['busy']]
    script.send('set_wifi_channel', channel=free[0])


def technician(script: AccountScript, day: int, defect: str) -> Ending:
  """Books a technician for a defect, unless one comes already."""
  script.call('show_visits', account=script.account)
  if booked := script.visit['day']:
    script.agent('comes anyway', what=defect, day=booked)
    return Ending('fallback', (f'day {booked}',))
  script.agent('which day', what=defect, free=script.free_days)
  script.user('on day', day=day)
  return book(script, day)


def book(script: AccountScript, day: int) -> Ending:
  """Books a technician for a day."""
  script.call('book_visit', account=script.account, day=day)
  script.agent('booked', day=day)
  return Ending('do', (f'day {day}',))


def offer(script: AccountScript, plan: str, then: str = '') -> Ending:
  """Offers a plan, and then the plan `then` unless it is ''."""
  home, speed = script.home, database.SPEED
  if speed[plan] > (limit := script.line['limit']):
    script.agent('limit', plan=plan, limit=limit)
    return Ending('refuse', ('limit', str(limit)))
  until = home['contract']
  if speed[plan] < speed[home['plan']] and until > database.TODAY:
    script.agent('contract', until=until)
    return Ending('refuse', ('contract', f'day {until}'))
  price = home['prices'][plan]
  script.agent('offer', plan=plan, price=price)
  if then:
    script.user('thinks again', then=then)
    return offer(script, then)
  script.user('yes')
  script.call('change_plan', account=script.account, plan=plan)
  script.agent('plan changed', plan=plan, price=price)
  return Ending('do', (plan, str(price)))
