"""The domain `router`: its physics, its tools, and the contract of tasks."""

import collections
import dataclasses
import functools
import itertools
import random
import re

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools as tools_lib
from agentrl.envs.domains.router import phrases
from agentrl.envs.domains.router import state as database
from agentrl.envs.domains.router import tasks
from agentrl.envs.domains.router import tools
import pytest

ENV = domain.Domain('agentrl.envs.domains.router')
TABLE = {'assistant': tools_lib.table(tools.AGENT),
         'user': tools_lib.table(tools.USER)}
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


@dataclasses.dataclass(frozen=True)
class Run:
  """A gold run of a demand, with the opening in its place.

  Attributes:
    knowledge: what the caller knows of themselves.
    demand: as drafted.
    steps: (beat, what its call showed, whether it wrote).
    changes: of the state, by all of it.
  """

  knowledge: str
  demand: domain.Demand
  steps: tuple[tuple[domain.Beat, str, bool], ...]
  changes: dict


@functools.lru_cache(maxsize=4)
def gold_runs(split: str, seed: int = 0) -> list[Run]:
  """Of every caller and family that fit."""
  rng = random.Random(seed)
  state = state_lib.State(database.build(seed, split))
  pairs = itertools.product(tasks.callers(state), tasks.FAMILIES)
  return [gold_run(state, caller, demand) for caller, family in pairs
          if (demand := family(state, caller, rng))]


def gold_run(state, caller, demand) -> Run:
  assert state.changes() == {}, 'Drafting must leave the state alone.'
  knowledge, opening = tasks.opening(state, caller)
  first, *rest = demand.beats
  steps, changes = [], {}
  for beat in (first, *opening, *rest):
    shown = ''
    if beat.call:
      result = call(state, beat.call, beat.by, **beat.arguments)
      assert not result.error, (beat, result)
      shown = result.content
    wrote = changes != (changes := state.changes())
    steps.append((beat, shown, wrote))
  state.rewind({})
  return Run(knowledge, demand, tuple(steps), changes)


def facts(*texts) -> set[str]:
  """Ids and numbers."""
  return set(re.findall(rf'{tasks.ENTITY}|\b\d+\b', ' '.join(map(str, texts))))


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


class TestDatabase:

  def test_splits_share_words_but_no_entity(self):
    names, words = {}, {}
    for split in database.SPLITS:
      rows = [database.build(seed, split) for seed in (0, 1)]
      names[split] = {key for tables in rows for table in tables
                      for key in tables[table] if '-' in key}
      names[split] |= {home['name'] for tables in rows
                       for home in tables['accounts'].values()}
      words[split] = {w for n in names[split] for w in re.split('[- ]', n)}
    assert not names['train'] & names['test']
    assert words['train'] == words['test']

  def test_is_a_function_of_its_arguments(self):
    assert database.build(3, 'train') == database.build(3, 'train')
    assert database.build(3, 'train') != database.build(4, 'train')
    with pytest.raises(ValueError, match="got 'dev'"):
      database.build(0, 'dev')

  def test_a_caller_has_one_account_line_and_router(self):
    tables = database.build(0, 'train')
    homes = tables['accounts']
    assert len(homes) == database.CALLERS
    assert set(homes) == set(tables['lines']) == set(tables['visits'])
    assert {home['router']: key for key, home in homes.items()} == {
        key: device['account'] for key, device in tables['devices'].items()}
    assert len({home['name'] for home in homes.values()}) == len(homes)


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

  def test_nothing_follows_a_transfer(self):
    state = world(home=dict(due=40), visit=dict(day=25))
    call(state, 'transfer_to_human', reason='moving')
    assert not any(draft(f.__name__, state) for f in tasks.FAMILIES)


@pytest.mark.parametrize('split', database.SPLITS)
class TestContract:
  """What the data engine relies on, for every caller and family."""

  def test_drafting_is_repeatable(self, split):
    assert gold_runs(split) == gold_runs.__wrapped__(split)

  def test_beats_obey_the_dialogue_rules(self, split):
    for run in gold_runs(split):
      beats = [beat for beat, _, _ in run.steps]
      assert beats[0].by == 'user' and beats[0].say
      assert beats[-1].by == 'assistant' and beats[-1].say
      for beat, then in itertools.pairwise(beats):
        assert bool(beat.say) != bool(beat.call)
        assert (then.by == beat.by) == bool(beat.call)

  def test_giving_up_does_not_pass(self, split):
    idle = (dialogue.GREETING.content + ' I am sorry, I cannot help with that.'
            ' Transferring you now.').lower()
    for run in gold_runs(split):
      kind, tell = run.demand.kind, run.demand.tell
      assert tell and not any(fact in idle for fact in tell)
      assert run.changes or kind in ('refuse', 'fallback')
      handed = 'desk.call.transfer' in run.changes
      assert handed == (kind == 'transfer')

  def test_every_wording_says_what_must_be_said(self, split):
    for run in gold_runs(split):
      asked = run.demand.beats[0].say
      for word in run.demand.about:
        assert all(word in text.lower() for text in (run.demand.goal, *asked))
      said = [b.say for b in run.demand.beats if b.by == 'assistant' and b.say]
      for fact in run.demand.tell:
        assert any(all(fact in t.lower() for t in say) for say in said), fact

  def test_writes_come_after_their_name_and_a_yes(self, split):
    for run in gold_runs(split):
      named, agreed = set(), set()
      for beat, _, wrote in run.steps:
        if beat.by == 'user':
          agreed |= named
        elif beat.say:
          named |= set.intersection(*map(facts, beat.say))
        elif wrote:
          ids = re.findall(tasks.ENTITY, ' '.join(
              map(str, beat.arguments.values())))
          assert set(ids) <= agreed, (beat, agreed)

  @pytest.mark.parametrize('side', TABLE)
  def test_nobody_knows_what_they_have_not_met(self, split, side):
    """Ids and numbers were shown or said before, or stand in the prompt."""
    for run in gold_runs(split):
      known = facts(*((ENV.policy,) if side == 'assistant' else (
          run.knowledge, run.demand.goal)))
      for beat, shown, _ in run.steps:
        used = facts(*beat.say, *beat.arguments.values())
        if beat.by == side:
          assert used <= known, (beat, used - known)
          known |= facts(shown)
        elif beat.say:
          known |= used

  def test_is_short(self, split):
    for run in gold_runs(split):
      assert len(run.demand.goal.split()) <= 30
      assert len(run.knowledge.split()) <= 14
      for beat, shown, _ in run.steps:
        most = 15 if beat.by == 'user' else 22
        assert all(len(text.split()) <= most for text in beat.say), beat
        assert len(shown.split()) <= 25, shown

  def test_every_tool_and_kind_is_met(self, split):
    met, kinds = set(), collections.defaultdict(collections.Counter)
    for run in gold_runs(split):
      met |= {(beat.by, beat.call) for beat, _, _ in run.steps if beat.call}
      kinds[run.demand.family][run.demand.kind] += 1
    assert met == {(side, name) for side in TABLE for name in TABLE[side]}
    assert set(kinds) == {f.__name__ for f in tasks.FAMILIES}
    assert all(len(k) >= 3 for k in kinds.values()), kinds
    total = sum(kinds.values(), collections.Counter())
    assert 0.6 < total['do'] / total.total() < 0.8


def test_phrases_come_in_variants_without_ids():
  for say in (*phrases.USER.values(), *phrases.AGENT.values()):
    assert len(set(say)) == len(say) >= 3
    assert not any(re.search(tasks.ENTITY, text) for text in say)
