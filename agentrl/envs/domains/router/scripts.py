"""How an exchange is written, and the steps that families share.

A step returns how the demand ended, or None if it goes on.
"""

from __future__ import annotations

from typing import Any

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools as tools_lib
from agentrl.envs.domains.router import phrases
from agentrl.envs.domains.router import state as database
from agentrl.envs.domains.router import tools

_TOOLS = {'assistant': tools_lib.by_name(tools.AGENT),
          'user': tools_lib.by_name(tools.USER)}

End = tuple[str, tuple[str, ...]]  # kind of the demand, and facts to tell


class Script:
  """An exchange that is played on the state while it is written."""

  def __init__(self, state: state_lib.State, caller: str):
    self.state, self.account = state, caller
    self._before, self._beats, self._wishes = state.mark(), [], []

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
    """Whether an earlier demand has changed this field of the account."""
    return f'accounts.{self.account}.{field}' in self.state.changes()

  def user(self, phrase: str, **facts: Any) -> None:
    said = (text.format(**facts) for text in phrases.USER[phrase])
    self._beats.append(domain.says('user', *said))

  def agent(self, phrase: str, **facts: Any) -> None:
    said = (text.format(account=self.account, **facts)
            for text in phrases.AGENT[phrase])
    self._beats.append(domain.says('assistant', *said))

  def ask(self, phrase: str, **facts: Any) -> None:
    """The agent asks for leave and gets it."""
    self.agent(phrase, **facts)
    self.user('yes')

  def call(self, tool: str, by: types.Side = 'assistant', **kw: Any) -> str:
    """A call and what it shows; a good agent makes none that fails."""
    result = tools_lib.call(_TOOLS[by], self.state, types.ToolCall(
        tool, kw, requestor=by))
    if result.error:
      raise ValueError(f'The script calls {tool}({kw}): {result.content} '
                       'Make the family look at the state first.')
    self._beats.append(domain.calls(by, tool, **kw))
    return result.content

  def wish(self, tool: str, **kw: Any) -> None:
    """What a caller may press for; forbidden unless it comes to that."""
    self._wishes.append(domain.calls('assistant', tool, **kw))

  def send(self, tool: str, **kw: Any) -> str:
    """The agent has the caller do something, who says what it showed."""
    self.agent(tool, **kw)
    shown = self.call(tool, 'user', router=self.home['router'], **kw)
    self.user('shown', shown=shown)
    return shown

  def demand(self, family: str, goal: str, end: End,
             about: tuple[str, ...] = ()) -> domain.Demand:
    """The finished demand; the state is as it was before the script."""
    self.state.rewind(self._before)
    kind, tell = end
    if kind == 'refuse':
      self.wish('transfer_to_human', reason='billing')
    return domain.Demand(
        family, goal, tuple(self._beats), about, tell, kind,
        forbidden=tuple(w for w in self._wishes if w not in self._beats))


def start(state: state_lib.State, caller: str) -> Script | None:
  """A script, unless the caller has been handed over to a human."""
  handed = state.get('desk', 'call')['transfer']
  return None if handed else Script(state, caller)


def transfer(talk: Script, reason: str, why: str) -> End:
  talk.call('transfer_to_human', reason=reason)
  talk.agent('handed over', why=why)
  return 'transfer', ('human',)


def blocked(talk: Script) -> End | None:
  if talk.home['status'] != 'blocked':
    return None
  if talk.home['due']:
    talk.wish('pay_bill', account=talk.account, amount=talk.home['due'])
  return transfer(talk, 'abuse', 'Your account is blocked')


def settle(talk: Script) -> End | None:
  """Has the caller pay what is due, if anything is."""
  due = talk.home['due']
  if not due:
    return None
  talk.wish('pay_bill', account=talk.account, amount=due)
  if talk.home['card'] == 'expired':
    return transfer(talk, 'card',
                    f'There is a bill of {due}, and your card is expired')
  talk.agent('settle', due=due)
  if not talk.home['pays']:
    talk.user('pays not')
    talk.agent('still due', due=due)
    return 'refuse', (f'bill of {due}',)
  talk.user('pays')
  talk.call('pay_bill', account=talk.account, amount=due)
  if talk.home['status'] == 'suspended':
    talk.call('resume_service', account=talk.account)
  return None


def reopen(talk: Script) -> End | None:
  """Makes an account active that is not; what is due comes first."""
  if talk.home['status'] == 'active':
    return None
  if end := settle(talk):
    return end
  if talk.home['status'] == 'paused':
    talk.ask('resume')
    talk.call('resume_service', account=talk.account)
  return None


def mend_line(talk: Script) -> End | None:
  talk.wish('reset_line', account=talk.account)
  talk.call('line_status', account=talk.account)
  line = talk.line
  if line['area'] == 'outage':
    talk.agent('outage', back=line['back'])
    return 'refuse', ('outage', f'day {line["back"]}')
  if line['signal'] != 'ok':
    talk.ask('reset', signal=line['signal'])
    talk.call('reset_line', account=talk.account)
  return None


def mend_router(talk: Script, day: int) -> End | None:
  """One round of repairs by what the lights show."""
  match talk.send('look_at_lights'):
    case 'power off, line off':
      talk.send('press_power')
    case 'power green, line off':
      if talk.send('check_cable') == 'cable torn':
        return technician(talk, day, 'cable is torn')
      talk.send('replug_cable')
    case 'power green, line red':
      if talk.send('reboot_router') == 'power green, line red':
        return technician(talk, day, 'router is broken')
    case _:
      mend_wifi(talk)
  return None


def mend_wifi(talk: Script) -> None:
  talk.send('check_wifi')
  device = talk.device
  if device['wifi'] == 'off':
    talk.send('press_wifi')
  if device['airplane'] == 'on':
    talk.send('toggle_airplane')
  if device['channel'] in device['busy']:
    free = [c for c in database.CHANNELS if c not in device['busy']]
    talk.send('set_wifi_channel', channel=free[0])


def technician(talk: Script, day: int, what: str) -> End:
  talk.call('show_visits', account=talk.account)
  if booked := talk.visit['day']:
    talk.agent('comes anyway', what=what, day=booked)
    return 'fallback', (f'day {booked}',)
  talk.agent('which day', what=what, free=talk.free_days)
  talk.user('on day', day=day)
  return book(talk, day)


def book(talk: Script, day: int) -> End:
  talk.call('book_visit', account=talk.account, day=day)
  talk.agent('booked', day=day)
  return 'do', (f'day {day}',)


def offer(talk: Script, plan: str, then: str = '') -> End:
  """Offers a plan, and `then` another one if the caller thinks again."""
  home, speed = talk.home, database.SPEED
  if speed[plan] > (limit := talk.line['limit']):
    talk.agent('limit', plan=plan, limit=limit)
    return 'refuse', ('limit', str(limit))
  until = home['contract']
  if speed[plan] < speed[home['plan']] and until > database.TODAY:
    talk.agent('contract', until=until)
    return 'refuse', ('contract', f'day {until}')
  price = home['prices'][plan]
  talk.agent('offer', plan=plan, price=price)
  if then:
    talk.user('thinks again', then=then)
    return offer(talk, then)
  talk.user('yes')
  talk.call('change_plan', account=talk.account, plan=plan)
  talk.agent('plan changed', plan=plan, price=price)
  return 'do', (plan, str(price))
