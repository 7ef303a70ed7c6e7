"""The rules of `router`: its physics, its tools, and who does what when."""

import random

import pytest

from agentrl import types
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools as tools_lib
from agentrl.envs.domains.router import tasks
from agentrl.envs.domains.router import tools

TABLE = {'assistant': tools_lib.by_name(tools.AGENT),
         'user': tools_lib.by_name(tools.USER)}
HOME = dict(name='Mira Tobin', router='calm-otter', status='active',
            plan='plus', prices=dict(basic=20, plus=35, max=50), due=0,
            card='valid', pays=True, contract=0, until=0, moves=0, credit=0,
            credits=0)
LINE = dict(signal='ok', area='ok', back=0, resets=0, limit=90)
DEVICE = dict(account='teal-hawk', power='on', cable='in', stuck=False,
              broken=False, wifi='on', airplane='off', channel=6, busy=[],
              reboots=0, tested=-1)
FEE = dict(account='teal-hawk', kind='late', amount=35, credited=0)


def world(home=(), line=(), device=(), visit=(), fee=()) -> state_lib.State:
  """A single caller, `teal-hawk`, with some fields set."""
  visits = {'day': 0, 'free': [31, 40, 55], **dict(visit)}
  return state_lib.State({
      'accounts': {'teal-hawk': HOME | dict(home)},
      'lines': {'teal-hawk': LINE | dict(line)},
      'devices': {'calm-otter': DEVICE | dict(device)},
      'visits': {'teal-hawk': visits}, 'fees': {'old-fig': FEE | dict(fee)},
      'desk': {'call': {'transfer': ''}}})


def call(state, name, by='assistant', /, **arguments) -> types.Message:
  return tools_lib.call(TABLE[by], state, types.ToolCall(
      name, arguments, requestor=by))


def draft(family, state, seed=0) -> domain.Demand:
  return getattr(tasks, family)(state, 'teal-hawk', random.Random(seed))


def made(demand: domain.Demand) -> list[str]:
  return [b.call for b in demand.beats if b.call]


class TestPhysics:

  @pytest.mark.parametrize('faults, speed', [
      (dict(), 60),
      (dict(home=dict(plan='max')), 90),
      (dict(line=dict(limit=30)), 30),
      (dict(line=dict(signal='weak')), 30),
      (dict(device=dict(busy=[6, 11])), 30),
      (dict(device=dict(busy=[1, 11])), 60),
      (dict(line=dict(signal='weak'), device=dict(busy=[1, 6])), 15),
      (dict(home=dict(status='paused')), 0),
      (dict(line=dict(signal='down')), 0),
      (dict(line=dict(area='outage')), 0),
      *((dict(device=fault), 0) for fault in (
          dict(power='off'), dict(cable='out'), dict(cable='torn'),
          dict(stuck=True), dict(broken=True), dict(wifi='off'),
          dict(airplane='on'))),
  ])
  def test_speed(self, faults, speed):
    assert tools.speed(world(**faults), 'calm-otter') == speed

  @pytest.mark.parametrize('faults, lights', [
      (dict(device=dict(wifi='off', airplane='on')), 'power green, line green'),
      (dict(device=dict(power='off', cable='out')), 'power off, line off'),
      (dict(device=dict(cable='torn', stuck=True)), 'power green, line off'),
      (dict(device=dict(broken=True)), 'power green, line red'),
      (dict(home=dict(status='blocked')), 'power green, line red'),
  ])
  def test_lights_show_the_first_fault(self, faults, lights):
    assert tools.lights(world(**faults), 'calm-otter') == lights

  def test_reboot_helps_a_stuck_router_and_no_broken_one(self):
    for fault, line in (('stuck', 'green'), ('broken', 'red')):
      shown = call(world(device={fault: True}), 'reboot_router', 'user',
                   router='calm-otter')
      assert shown.content == f'power green, line {line}'


class TestTools:

  @pytest.mark.parametrize('faults, name, arguments, word', [
      (dict(home=dict(due=40)), 'pay_bill', dict(amount=39), 'due is 40'),
      (dict(), 'pay_bill', dict(amount=0), 'due is 0'),
      (dict(home=dict(due=40, card='expired')), 'pay_bill', dict(amount=40),
       'expired'),
      (dict(home=dict(status='suspended', due=40)), 'resume_service', {},
       'due is 40'),
      (dict(), 'resume_service', {}, 'active'),
      (dict(home=dict(status='blocked')), 'pause_service', dict(until=30),
       'blocked'),
      (dict(), 'change_plan', dict(plan='plus'), 'already'),
      (dict(), 'change_plan', dict(plan='huge'), 'plan'),
      (dict(), 'book_visit', dict(day=32), 'not free'),
      (dict(), 'cancel_visit', {}, 'no visit'),
      (dict(home=dict(moves=40)), 'move_service', dict(day=50), 'already'),
  ])
  def test_refusals_change_nothing(self, faults, name, arguments, word):
    state = world(**faults)
    result = call(state, name, account='teal-hawk', **arguments)
    assert result.error and word in result.content
    assert state.changes() == {}

  @pytest.mark.parametrize('name', sorted(TABLE['user']))
  def test_a_router_that_is_not_there(self, name):
    more = {'channel': 1} if name == 'set_wifi_channel' else {}
    result = call(world(), name, 'user', router='bold-tulip', **more)
    assert result.content == 'Error: there is no bold-tulip among the devices.'

  def test_credit(self):
    state = world()
    assert not call(state, 'apply_credit', fee='old-fig', amount=35).error
    assert state.changes() == {'accounts.teal-hawk.credit': 35,
                               'accounts.teal-hawk.credits': 1,
                               'fees.old-fig.credited': 35}
    assert call(state, 'apply_credit', fee='old-fig', amount=35).error
    listed = call(state, 'list_fees', account='teal-hawk').content
    assert listed == 'no fees; credits 1'

  def test_a_needless_reboot_leaves_a_trace(self):
    state = world()
    call(state, 'reboot_router', 'user', router='calm-otter')
    assert state.changes() == {'devices.calm-otter.reboots': 1}

  def test_a_customer_is_handed_over_once(self):
    state = world()
    assert not call(state, 'transfer_to_human', reason='moving').error
    assert call(state, 'transfer_to_human', reason='abuse').error
    assert state.changes() == {'desk.call.transfer': 'moving'}


class TestDiagnosis:
  """The state decides what a good agent does, whatever the caller says."""

  @pytest.mark.parametrize('faults, actions', [
      (dict(line=dict(signal='down')),
       'line_status reset_line look_at_lights check_wifi run_speed_test'),
      (dict(line=dict(area='outage', signal='down'), device=dict(cable='out')),
       'line_status'),
      (dict(home=dict(status='suspended', due=40), device=dict(stuck=True)),
       'pay_bill resume_service line_status look_at_lights reboot_router '
       'run_speed_test'),
      (dict(home=dict(status='paused'), device=dict(power='off')),
       'resume_service line_status look_at_lights press_power '
       'run_speed_test'),
      (dict(device=dict(cable='out', wifi='off')),
       'line_status look_at_lights check_cable replug_cable run_speed_test '
       'look_at_lights check_wifi press_wifi run_speed_test'),
      (dict(device=dict(cable='torn')),
       'line_status look_at_lights check_cable show_visits book_visit'),
      (dict(device=dict(broken=True), visit=dict(day=25)),
       'line_status look_at_lights reboot_router show_visits'),
      (dict(home=dict(status='blocked'), device=dict(power='off')),
       'transfer_to_human'),
      (dict(home=dict(status='suspended', due=40, card='expired')),
       'transfer_to_human'),
      (dict(home=dict(status='suspended', due=40, pays=False)), ''),
  ])
  def test_connection(self, faults, actions):
    assert made(draft('connection', world(**faults))) == actions.split()

  @pytest.mark.parametrize('faults, actions', [
      (dict(home=dict(plan='max')), 'run_speed_test'),
      (dict(home=dict(plan='basic')), 'run_speed_test show_plans change_plan'),
      (dict(line=dict(limit=30)),
       'run_speed_test line_status show_plans change_plan'),
      (dict(line=dict(limit=30), home=dict(contract=44)),
       'run_speed_test line_status show_plans'),
      (dict(line=dict(signal='weak'), device=dict(busy=[1, 6])),
       'run_speed_test line_status reset_line check_wifi set_wifi_channel '
       'run_speed_test'),
  ])
  def test_slow(self, faults, actions):
    seed = next(s for s in range(9) if random.Random(s).random() < 0.5)
    demand = draft('slow', world(**faults), seed)
    assert made(demand) == actions.split()

  @pytest.mark.parametrize('faults, kind, tell', [
      (dict(), 'do', 'credited'),
      (dict(home=dict(credits=1)), 'refuse', 'once'),
      (dict(home=dict(credits=1), fee=dict(kind='double')), 'do', 'credited'),
      (dict(fee=dict(kind='install')), 'refuse', 'install'),
      (dict(fee=dict(kind='visit')), 'do', 'credited'),
      (dict(fee=dict(kind='visit'), visit=dict(day=25)), 'refuse',
       'visit on day 25'),
      (dict(fee=dict(kind='double', amount=81)), 'transfer', 'human'),
      (dict(fee=dict(kind='double', amount=80)), 'do', 'credited'),
  ])
  def test_fee_back(self, faults, kind, tell):
    demand = draft('fee_back', world(**faults))
    assert demand.kind == kind and tell in demand.tell

  @pytest.mark.parametrize('seed', range(20))
  @pytest.mark.parametrize('booked', [0, 25])
  def test_pause(self, booked, seed):
    demand = draft('pause', world(visit=dict(day=booked)), seed)
    long = int(demand.about[0].removeprefix('day ')) > 60
    if 'do not agree' in demand.goal and (long or booked):
      assert demand.kind == 'refuse'
      assert made(demand) == ['show_visits']
    else:
      assert demand.kind == ('fallback' if long else 'do')
      assert ('cancel_visit' in made(demand)) == bool(booked)
      assert demand.beats[-2].arguments['until'] <= 60

  @pytest.mark.parametrize('seed', range(20))
  @pytest.mark.parametrize('booked', [21, 25])
  def test_move_visit(self, booked, seed):
    demand = draft('move_visit', world(visit=dict(day=booked)), seed)
    writes = {b.call: b.arguments.get('day') for b in demand.beats[2:-1]
              if b.call}
    day = int(demand.about[0].removeprefix('day '))
    if booked == 21:
      assert demand.kind == 'refuse' and not writes
    elif day in (31, 40, 55):
      assert writes == {'book_visit': day}
    elif 'keep' in demand.goal:
      assert not writes and demand.tell == ('day 25',)
    elif 'cancel' in demand.goal:
      assert writes == {'cancel_visit': None}
    else:
      assert writes['book_visit'] in (31, 40, 55)

  @pytest.mark.parametrize('faults, want, tell', [
      (dict(home=dict(contract=44)), 'basic', ('contract', 'day 44')),
      (dict(home=dict(contract=20)), 'basic', ('basic', '20')),
      (dict(home=dict(contract=44)), 'max', ('max', '50')),
      (dict(line=dict(limit=60)), 'max', ('limit', '60')),
      (dict(home=dict(due=40, pays=False)), 'max', ('bill of 40',)),
  ])
  def test_new_plan(self, faults, want, tell):
    drafted = [draft('new_plan', world(**faults), seed) for seed in range(20)]
    drafted = [d for d in drafted
               if d.about == (want,) and 'Once' not in d.goal]
    assert {d.tell for d in drafted} == {tell}

  def test_some_think_again_when_they_hear_the_price(self):
    drafted = [draft('new_plan', world(), seed) for seed in range(20)]
    again = [d for d in drafted if 'Once you hear' in d.goal]
    assert again
    for demand in again:
      assert demand.about == ('max',) and 'costs 50' in demand.goal
      assert demand.beats[-2].arguments['plan'] == 'basic'

  def test_move_house(self):
    for seed in range(20):
      demand = draft('move_house', world(), seed)
      soon = int(demand.about[0].removeprefix('day ')) < 34
      assert made(demand) == [
          'transfer_to_human' if soon else 'move_service']

  def test_pay(self):
    assert made(draft('pay', world(home=dict(due=40)))) == ['pay_bill']
    assert made(draft('pay', world(home=dict(due=40, status='suspended')))) == [
        'pay_bill', 'resume_service']
    assert draft('pay', world(home=dict(due=40, pays=False))) is None

  def test_nothing_follows_a_transfer(self):
    state = world(home=dict(due=40), visit=dict(day=25))
    call(state, 'transfer_to_human', reason='moving')
    assert not any(draft(f.__name__, state) for f in tasks.FAMILIES)
