"""Domains without drafts: somebody thinks, and execution decides."""

import copy
import dataclasses
import json
import pathlib
import random
import shutil

import ml_collections
import pytest

from agentrl import files
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata import run
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.plan import planner
from agentrl.eigendata.write import invented
from agentrl.envs import load as env_load
from agentrl.envs import replay
from agentrl.llm import llm as llm_lib
from agentrl.llm.stand_in import procedural

SHOP = pathlib.Path(__file__).parents[1] / 'lamp_shop'


class Thinker:
  """An LLM whose goals come from a function of the job; else the stand-in."""

  think = None  # set by `thinker`, for makers are made by import path

  def __init__(self, objects=0.0):
    self._rest = procedural.Procedural(
        dict.fromkeys(procedural.MISTAKEN, 0.0))
    self._objects = objects

  def complete(self, messages, *, schema=None, tools=(), seed):
    job = json.loads(messages[0].content.rpartition('\n')[2])
    rng = random.Random(seed)
    if job['role'] not in ('goal', 'review'):
      return self._rest.complete(messages, schema=schema, tools=tools,
                                 seed=seed)
    if job['role'] == 'goal':
      value = Thinker.think(job, rng)
    else:
      off = rng.random() < self._objects
      value = {'ok': not off, 'problem': 'not by the policy' if off else ''}
    return llm_lib.Answer(types.Message('assistant', json.dumps(value)), value,
                         llm_lib.Usage(1, 1, 1))


def lamps(job, rng):
  """A goal for each wanted tool of the bare shop."""
  caller = next(iter(job['records']['people']))
  mine = [k for k, lamp in job['records']['lamps'].items()
          if lamp['owner'] == caller]
  demands = []
  for family in job['families']:
    lamp = rng.choice(mine)
    found = job['records']['lamps'][lamp]
    look = dict(by='assistant', name='show_lamp', arguments={'lamp': lamp})
    demand = dict(family=family, kind='do', calls=[look], forbidden=[],
                  tell=[f'level {found["level"]}'])
    if family == 'set_level':
      level = (found['level'] + 1) % 10
      kind = 'refuse' if found['broken'] else 'do'
      goal = f'You want {lamp} at level {level}.'
      demand |= dict(kind=kind, tell=['broken True'])
      if kind == 'do':
        change = dict(lamp=lamp, level=level)
        demand['calls'].append(
            dict(by='assistant', name='set_level', arguments=change))
        demand['tell'] = [f'level {level}']
    else:
      goal = f'You want to know how bright {lamp} is ({family}).'
    demands.append({**demand, 'goal': goal, 'ask': goal})
  return dict(knowledge=f'You are {caller}.', setup=[], records={},
              demands=demands)


@pytest.fixture
def bare(tmp_path, monkeypatch):
  """The lamp shop without its drafts."""
  folder = tmp_path / 'bare_shop'
  shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns(
      'tasks.py', '__pycache__'))
  monkeypatch.syspath_prepend(tmp_path)
  return 'bare_shop'


@pytest.fixture
def thinker(config, bare, monkeypatch):
  def make(think=lamps, **fields):
    monkeypatch.setattr(Thinker, 'think', staticmethod(think))
    return config(**{
        'domains': [bare], 'llm': f'{__name__}:Thinker', 'llm_kw': {},
        'num_test': 0, 'demands_train': [1.0], 'if_short': 'keep',
        'other_share': 0.4, **fields})
  return make


def context_of(fields):
  return context_lib.make(config_lib.read(fields))


def made(text, count=20):
  context = context_of(text)
  fields = text
  streams = run.plan(context, fields['demands_train'], 8, 'train', {})
  return context, [sample_lib.draw(context, streams[i % len(streams)], 'x', i)
                 for i in range(count)]


def test_what_is_thought_of_is_certified_and_played(thinker):
  context, found = made(thinker(), 30)
  kept = [s for s in found if s.task]
  assert len(kept) > 5
  env = context.envs['bare_shop']
  for s in kept:
    assert s.task.certificate.score == 1 and s.messages
    assert set(s.task.families) <= set(env.demand_tools())
    assert scored(env, s.task) == 1
  assert {s.task.kind for s in kept} >= {'do'}
  assert {s.rejection.kind for s in found if not s.task} <= {
      'another kind', 'ungrounded', 'contradiction', 'gold fails'}


def scored(env, task):
  """Reward of the gold run."""
  world, played = replay.replay(env, task, task.gold.moves)
  return env.score(task, world, played, 'user_stop').reward


def spoiled(**changes):
  """`lamps` with fields of its first demand changed by functions of it."""
  def think(job, rng):
    value = lamps(job, rng)
    first = value['demands'][0]
    for name, change in changes.items():
      first[name] = change(first)
    return value
  return think


@pytest.mark.parametrize('changes, worker, reason', [
    (dict(calls=lambda d: [*d['calls'], dict(
        by='assistant', name='set_level', arguments=dict(
            lamp='no-such', level=3))]), 'TaskValidation', 'gold fails'),
    (dict(calls=lambda d: [*d['calls'], dict(
        by='assistant', name='buy', arguments={})]),
     'TaskValidation', 'gold fails'),
    (dict(tell=lambda d: ['level 77']), 'TaskValidation', 'ungrounded'),
    # What the user says themselves need not be told.
    (dict(tell=lambda d: [d['goal']]), 'TaskValidation', 'ungrounded'),
    (dict(tell=lambda d: [', broken']), 'UserIntent',
     'a fact that cannot be looked for'),
    (dict(calls=lambda d: [], tell=lambda d: [], kind=lambda d: 'do'),
     'UserIntent', 'nothing to judge by'),
    (dict(family=lambda d: 'juggle'), 'UserIntent', 'other families'),
    (dict(kind=lambda d: 'transfer'), 'UserIntent', 'a transfer out of place'),
])
def test_what_does_not_hold_is_turned_down(thinker, changes, worker, reason):
  _, found = made(thinker(spoiled(**changes), other_share=0.0), 8)
  assert not any(s.task for s in found)
  assert {s.rejection.name for s in found} == {f'{worker}: {reason}'}


def test_what_is_forbidden_may_be_right_elsewhere(thinker):
  """Another lamp must not be touched: the tool is that of the demand."""
  def think(job, rng):
    value = lamps(job, rng)
    for demand in value['demands']:
      if demand['family'] == 'set_level' and demand['kind'] == 'do':
        own = demand['calls'][-1]['arguments']['lamp']
        other = next(k for k, lamp in job['records']['lamps'].items()
                     if k != own and not lamp['broken'])
        demand['forbidden'] = [
            dict(name='set_level', arguments=dict(lamp=other, level=9)),
            dict(name='find_person', arguments=dict(
                name=next(iter(job['records']['people'])))),
            dict(name='transfer_to_human', arguments=dict(reason='sale'))]
    return value
  _, found = made(thinker(think, other_share=0.0), 20)
  kept = [s.task for s in found if s.task
          and any(d.forbidden for d in s.task.demands)]
  assert kept
  for task in kept:
    assert 'transfer_to_human was done 0x' in task.checker
    assert 'set_level was done' not in task.checker
    assert 'find_person was done' not in task.checker  # to look is no harm


def test_users_must_say_values_and_not_the_names_of_arguments(thinker):
  _, found = made(thinker(other_share=0.0), 20)  # goals have the word "level"
  about = [w for s in found if s.task for d in s.task.demands for w in d.about]
  assert about and not {'lamp', 'level'} & {*about}


@pytest.mark.parametrize('field', ['goal', 'ask'])
def test_a_demand_has_words(thinker, field):
  _, found = made(thinker(spoiled(**{field: lambda d: ' '}),
                          other_share=0.0), 4)
  assert {s.rejection.kind for s in found} == {'a demand without words'}


def test_nobody_is_named_who_may_not_call(thinker):
  """Customers of tasks that models are judged on may not."""
  env = copy.copy(context_of(thinker()).envs['bare_shop'])
  plan = planner.Plan('x', env.name, 'train', (('show_lamp',),), 'brief')
  may = []
  env.callers = lambda tables: may
  source = invented.InventedTasks(env)
  options = dict(database=0, other_share=0.0)
  with pytest.raises(rejection.SampleRejected, match='no caller'):
    source.draw(plan, 0, **options)
  may[:] = ['Ann Train', 'Bob Train']
  draws = [source.draw(plan, seed, **options) for seed in range(8)]
  assert {d.others for d in draws} == {('Ann Train',), ('Bob Train',)}


def test_a_task_that_nothing_wrong_can_fail_is_none(thinker, bare, tmp_path):
  """No fact, no change, and no tool that could change anything."""
  (tmp_path / bare).rename(tmp_path / 'blind_shop')
  with (tmp_path / 'blind_shop' / 'tools.py').open('a') as file:
    file.write('\nAGENT, USER = (find_person, show_lamp), ()\n')
  _, found = made(thinker(
      spoiled(kind=lambda d: 'refuse', tell=lambda d: []), other_share=1.0,
      domains=['blind_shop'], demands_train=[1.0]), 6)
  assert {(s.rejection.worker, s.rejection.kind) for s in found} == {
      ('Certificate', 'no wrong run fails')}


def test_a_reviewer_may_object(thinker):
  _, found = made(thinker(llm_kw={'objects': 1.0}, other_share=0.0), 6)
  assert {(s.rejection.worker, s.rejection.kind) for s in found} <= {
      ('TaskValidation', 'reviewer objects'), ('TaskValidation', 'ungrounded'),
      ('UserIntent', 'another kind')}
  assert any(s.rejection.kind == 'reviewer objects' for s in found)


def test_templates_may_use_just_what_their_jobs_bring(thinker, monkeypatch):
  seen, plain = {}, prompts.Prompts.system
  def spy(self, role, payload, **options):
    seen[role] = set(payload)
    return plain(self, role, payload, **options)
  monkeypatch.setattr(prompts.Prompts, 'system', spy)
  made(thinker(other_share=0.0), 3)
  assert {role: seen[role] for role in ('goal', 'review')} == {
      role: set(prompts.FIELDS[role]) for role in ('goal', 'review')}


def test_a_critique_brings_another_try(thinker):
  def think(job, rng):
    return (lamps if job['critique'] else spoiled(
        family=lambda d: 'juggle'))(job, rng)
  _, found = made(thinker(think, other_share=0.0), 10)
  kept = [s for s in found if s.task]
  assert kept and all(
      s.repaired[0].name == 'goal: other families' for s in kept)


def test_the_stand_in_says_that_it_cannot_think(config, bare):
  text = config(domains=[bare], num_test=0)
  with pytest.raises(ValueError, match='set config.llm'):
    made(text, 1)


def test_a_corpus_of_a_domain_without_drafts(thinker, tmp_path):
  fields = thinker(num_train=6, max_tries=6)
  run.synthesize(ml_collections.ConfigDict(fields), tmp_path / 'data')
  tasks = episodes.tasks(tmp_path / 'data', 'train')
  assert len(tasks) == 6
  assert len(list(episodes.read(tmp_path / 'data'))) == 6


def test_a_task_may_begin_with_records_of_its_own(thinker):
  def think(job, rng):
    value = lamps(job, rng)
    lamp = value['demands'][0]['calls'][0]['arguments']['lamp']
    value['records'] = {'lamps': {lamp: {'level': 9}}}
    value['demands'][0]['tell'] = ['level 9']
    return value
  context, found = made(thinker(think, other_share=0.0), 12)
  env, kept = context.envs['bare_shop'], [s.task for s in found if s.task]
  assert kept
  for task in kept:
    plain = {k: v for k, v in task.initial_state.items() if k != 'records'}
    assert task.database == env.database(**task.initial_state)
    assert task.database != env.database(**plain)
    assert scored(env, task) == 1
  _, found = made(thinker(lambda job, rng: {
      **lamps(job, rng), 'records': {'shoes': {}}}, other_share=0.0), 3)
  assert {s.rejection.kind for s in found} == {'setup fails'}


def calls(by, *names):
  return [dict(by=by, name=name, arguments={}) for name in names]


def airplane(job, rng):
  """A telecom customer in airplane mode."""
  del rng
  names = [s['func_name'] for s in job['setups']]
  setup = map(names.index, ('set_user_info', 'turn_airplane_mode_on'))
  customer = next(iter(job['records']['customers'].values()))
  phone = job['setups'][names.index('set_user_info')]['arguments'][
      'phone_number']
  look = dict(by='assistant', name='get_customer_by_phone',
              arguments=dict(phone_number=customer['phone_number']))
  return dict(
      knowledge=f'You are {customer["full_name"]}, your phone number is '
                f'{phone}.', records={},
      setup=list(setup), demands=[dict(
          family=job['families'][0], goal='Your phone has no service.',
          ask='I have no service.', kind='do', tell=[], forbidden=[],
          calls=[look, *calls('user', 'check_status_bar',
                              'toggle_airplane_mode')])])


def pending(job, rng):
  """A retail customer whose order is made a pending one at the start."""
  del rng
  user, = (u for u in job['records']['users'].values()
           if any(o['user_id'] == u['user_id']
                  for o in job['records']['orders'].values()))
  key = next(k for k, o in job['records']['orders'].items()
             if o['user_id'] == user['user_id'])
  look, cancel = (dict(by='assistant', name=name, arguments=arguments)
                  for name, arguments in (
      ('get_order_details', dict(order_id=key)),
      ('cancel_pending_order',
       dict(order_id=key, reason='no longer needed'))))
  return dict(
      knowledge=f'You are {user["name"]["first_name"]}, e-mail '
                f'{user["email"]}.', setup=[],
      records={'orders': {key: {'status': 'pending'}}}, demands=[dict(
          family='cancel_pending_order', kind='do', forbidden=[], tell=[],
          goal=f'You want to cancel the order {key}: no longer needed.',
          ask=f'Cancel {key}, please.', calls=[look, cancel])])


@pytest.mark.parametrize('domain, think, family, changed', [
    ('telecom', airplane, 'toggle_airplane_mode', 'user.device.airplane_mode'),
    ('retail', pending, 'cancel_pending_order', '.status')])
def test_a_new_task_of_the_benchmark(thinker, domain, think, family, changed):
  pytest.importorskip('tau2')
  name = f'tau2:{domain}'
  context = context_of(thinker(
      think, domains=[name], env={'prompt': 'brief'}, other_share=0.0))
  stream = run.plan(context, [1.0], 1, 'train', {})[0]
  stream = dataclasses.replace(stream, plan=dataclasses.replace(
      stream.plan, combinations=((family,),)))
  sample = sample_lib.draw(context, stream, 'x', 0)
  task, plain = sample.task, env_load.load(name, {'prompt': 'brief'})
  assert task and sample.messages, sample
  assert changed in task.checker
  assert task.certificate.score == 1 and task.certificate.killed > 0
  # The benchmark's own evaluator, without our checker, says the same.
  assert scored(plain, task) == 1
  nothing = dataclasses.replace(task, gold=types.GoldRun((), ()))
  assert scored(plain, nothing) == 0


def test_a_corpus_of_the_benchmark(thinker, tmp_path):
  pytest.importorskip('tau2')
  fields = thinker(
      airplane, domains=['tau2:telecom'], num_train=1, plan_pairs=1,
      other_share=0.0, env={'prompt': 'brief', 'judged_on': 'test'})
  run.synthesize(ml_collections.ConfigDict(fields), tmp_path / 'data')
  task, = episodes.tasks(tmp_path / 'data', 'train')
  record, = files.read_json(tmp_path / 'data' / 'tau2_tasks_train.json')
  again = env_load.load('tau2:telecom', {'prompt': 'brief'}).task(record)
  assert (again.scenario, again.criteria, again.initial_state) == (
      task.scenario, task.criteria, task.initial_state)
  assert record['agentrl']['checker'] == task.checker


def test_tasks_like_those_that_are_judged_on_are_dropped(thinker, tmp_path):
  pytest.importorskip('tau2')
  held = env_load.load('tau2:telecom').by_id(
      '[service_issue]airplane_mode_on|lock_sim_card_pin[PERSONA:Easy]')
  assert held.split == 'test'
  def think(job, rng):
    value = airplane(job, rng)
    value['setup'] = [job['setups'].index(a) for a in
                      held.initial_state['initialization_actions']]
    return value
  fields = thinker(
      think, domains=['tau2:telecom'], num_train=1, plan_pairs=1, max_tries=2,
      other_share=0.0, env={'prompt': 'brief', 'judged_on': 'test'})
  run.synthesize(ml_collections.ConfigDict(fields), tmp_path / 'data')
  stats = files.read_json(tmp_path / 'data' / 'stats.json')['train']
  assert stats['kept'] == 0
  assert any(r.startswith('Contamination') for r in stats['rejected']), stats


def test_test_tasks_of_the_benchmark_are_its_own(thinker):
  with pytest.raises(ValueError, match='num_test=0'):
    context_of(thinker(domains=['tau2:retail'], num_test=3))
