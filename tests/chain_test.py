"""Runs the whole chain in small on the domain of docs/domains.md, kills and
resumes it."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from agentrl import files
from agentrl import metrics
from agentrl import sharding
from agentrl.data import episodes as data
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from agentrl.rollout import play
from agentrl.rollout import policy
from agentrl.stage import bundles
from agentrl.stage import inputs
from agentrl.stage import runs

ROOT = pathlib.Path(__file__).parent.parent
pytestmark = pytest.mark.slow
RUN = ('scripts/run.py', '--config=configs/quickstart.py:domain=lamps,tiny')


@pytest.fixture(scope='module')
def root(once):
  """A folder with the domain of docs/domains.md; `call` looks there too."""
  return once('lamps_of_docs', write_domain)


def write_domain(folder):
  page = (ROOT / 'docs/domains.md').read_text()
  parts = re.findall(r'```\w+ (lamps/\S+)\n(.*?)```', page, re.S)
  assert {name for name, _ in parts} == {
      f'lamps/{name}' for name in ('policy.md', 'state.py', 'tools.py',
                                   'tasks.py')}
  for name, text in parts:
    files.write_text(folder / name, text)


@pytest.fixture(scope='module')
def call(root):
  """Runs a script; `call.start` starts one."""
  kw = dict(cwd=ROOT, env={**os.environ, 'PYTHONPATH': f'{ROOT}:{root}'})

  def run(*args, ok=True):
    process = subprocess.run([sys.executable, *args], capture_output=True,
                           text=True, check=False, **kw)
    assert (process.returncode == 0) == ok, process.stdout + process.stderr
    return process
  run.start = lambda *args: subprocess.Popen(
      [sys.executable, *args], stderr=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL, **kw)
  return run


@pytest.fixture(scope='module')
def whole(once, call):
  """A finished chain."""
  def run(folder):
    printed = call(*RUN, f'--workdir={folder}').stdout
    assert 'The plan' in printed
  return once('whole_chain', run)


def test_the_models_have_learned_the_domain(whole):
  rewards = [r['train/reward_mean'] for r in metrics.read(whole / 'grpo')]
  assert sum(rewards) / len(rewards) > 0.3, rewards


def test_the_chain_ends_in_a_report_and_a_summary(whole):
  assert (whole / 'report.html').stat().st_size > 10_000
  summary = files.read_json(whole / 'summary.json')
  for name in ('sft', 'grpo'):
    assert {'pass^1', 'pass^4', 'pass^1_interval'} <= set(summary[name])
  for name in ('seconds', 'peak_memory_gib', 'floors', 'delta',
               'user_fault_rate', 'measurement', 'seed', 'versions'):
    assert summary[name] is not None, name


def test_a_second_call_is_done_at_once(whole, call):
  before = (whole / 'grpo/manifest.json').read_text()
  assert 'done' in call(*RUN, f'--workdir={whole}').stdout
  assert (whole / 'grpo/manifest.json').read_text() == before


def test_sampler_and_trainer_agree_before_the_first_update(whole):
  first = metrics.read(whole / 'grpo')[0]
  assert first['train/logp_gap_max'] < 1e-4
  assert abs(first['train/ratio_mean'] - 1) < 1e-4


def lines(folder):
  """Metrics without the clock."""
  return [{k: v for k, v in r.items() if not k.startswith('time/')}
          for r in metrics.read(folder)]


def kill_after(folder, count, process):
  """Kills a stage once it has written `count` lines."""
  with process:
    while len(metrics.read(folder)) < count and process.poll() is None:
      time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
  assert process.returncode == -signal.SIGKILL
  assert not (folder / 'manifest.json').exists()


def overrides(config, **changed):
  """A stage's own config as flags."""
  fields = json.loads((config / 'config.json').read_text())['config'] | changed
  flat = runs.flat(fields)
  return [f'--config.{k}={tuple(v) if isinstance(v, list) else v}'
          for k, v in flat.items()]


@pytest.mark.parametrize('stage, script, config, after', [
    ('agent_sft', 'train_sft', 'sft/builtin.py:side=assistant', 25),
    ('grpo', 'train_grpo', 'grpo/builtin.py', 3)])
def test_killed_and_started_again_is_as_if_nothing_had_been(
    whole, call, tmp_path, stage, script, config, after):
  folder = tmp_path / stage
  args = [f'scripts/{script}.py', f'--config=configs/{config}',
          f'--workdir={folder}', *overrides(whole / stage)]
  kill_after(folder, after, call.start(*args))
  call(*args)
  assert lines(folder) == lines(whole / stage)  # to the last bit
  assert (inputs.manifest(folder)['made']['params']
          == inputs.manifest(whole / stage)['made']['params'])


@pytest.mark.parametrize('stage, script, config, own', [
    ('agent_sft', 'train_sft', 'sft/builtin.py',
     ('--config.total_steps=20', '--config.save_every=4',
      '--config.optimizer.name=adamw', '--config.optimizer.peak_lr=0.01')),
    ('grpo', 'train_grpo', 'grpo/builtin.py',
     ('--config.total_steps=3', '--config.optimizer.norm_lr=1.0'))])
def test_adapters_are_trained_on_a_frozen_model(
    root, whole, call, tmp_path, monkeypatch, stage, script, config, own):
  monkeypatch.syspath_prepend(root)
  start = whole / 'agent_sft'
  if stage == 'grpo':  # of an agent that is always right nothing is learned
    start = tmp_path / 'agent'
    unsure(whole, start)

  def args(folder, *more):
    return [f'scripts/{script}.py', f'--config=configs/{config}',
            f'--workdir={folder}', *overrides(whole / stage), *own,
            f'--config.init_from={start}', *more]
  one, two = tmp_path / 'one', tmp_path / 'two'
  call(*args(one, '--config.lora.rank=4'))
  kill_after(two, 2 if stage == 'grpo' else 9,
             call.start(*args(two, '--config.lora.rank=4')))
  call(*args(two, '--config.lora.rank=4'))
  assert lines(two) == lines(one)  # to the last bit
  made = inputs.manifest(one)['made']['params']
  assert inputs.manifest(two)['made']['params'] == made
  assert made != inputs.manifest(start)['made']['params']
  assert (one / 'adapters').is_dir()
  first = metrics.read(one)[0]
  if stage == 'grpo':  # the sampler has the merged weights
    assert first['train/logp_gap_max'] < 1e-4
  mesh = sharding.make_mesh(dict(data=1, fsdp=1, tensor=1))
  plain, adapted = (bundles.read(x, mesh, 'agent').params
                    for x in (start, one))
  np.testing.assert_array_equal(adapted['embed'], plain['embed'])


def unsure(whole, folder):
  """The trained agent, its logits so flat that it earns less than half."""
  config = json.loads((whole / 'grpo/config.json').read_text())['config']
  mesh = sharding.make_mesh(dict(data=1, fsdp=1, tensor=1))
  env = env_load.load_many(config['domains'], config['env'])
  tasks = data.tasks(whole / 'data', 'train') * 8
  bundle = bundles.read(whole / 'agent_sft', mesh, 'agent')
  agent = policy.from_bundle(bundle, mesh, **config['sampler'])
  user = policy.from_bundle(bundles.read(whole / 'user_sft', mesh, 'user'),
                            mesh, **config['user_sampler'])
  norm = bundle.params['final_norm']
  reward = 1.0
  while reward > 0.5:
    norm['scale'] *= 0.95
    agent.load(bundle.params)
    reward = np.mean([episode.reward for episode in play.play(
        env, tasks, agent=agent, user=user, seeds=range(len(tasks)),
        limits=dialogue.Limits(**config['limits']))])
  shutil.copytree(whole / 'agent_sft', folder)
  shutil.rmtree(folder / 'params')
  manifest = inputs.manifest(folder)
  manifest['made'] |= bundles.save(folder, bundle.model, bundle.vocab,
                                  bundle.params)
  files.write_json(folder / 'manifest.json', manifest)


def test_grpo_raises_the_reward_of_an_agent_made_unsure(
    root, whole, call, tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(root)
  agent, grpo = tmp_path / 'agent', tmp_path / 'grpo'
  unsure(whole, agent)
  call('scripts/train_grpo.py', '--config=configs/grpo/builtin.py',
       f'--workdir={grpo}', *overrides(whole / 'grpo'),
       f'--config.init_from={agent}', '--config.total_steps=50',
       '--config.tasks=4', '--config.wave=4', '--config.group=8',
       '--config.optimizer.peak_lr=0.001',
       '--config.optimizer.schedule=constant')
  reward = [r['train/reward_mean'] for r in metrics.read(grpo)]
  assert sum(reward[-10:]) / 10 > sum(reward[:10]) / 10 + 0.1, reward


@pytest.mark.parametrize('args, words', [
    (['--config.totl_steps=3'], "no 'totl_steps'. Did you mean 'total_steps'"),
    (['--config.data=/nowhere'], 'is not the folder of a stage'),
    (['--config.micro_rows=3'], 'does not divide'),
    (['--config.lora.rank=4', '--config.init_from='],
     'lora.rank=4 adapts a trained model'),
    (['--config.optimizer.name=adafactr'], "Did you mean 'adafactor'"),
])
def test_bad_input_ends_in_a_line_and_not_in_a_traceback(
    whole, call, tmp_path, args, words):
  process = call('scripts/train_sft.py', '--config=configs/sft/builtin.py',
               f'--workdir={tmp_path / "x"}',
               *overrides(whole / 'agent_sft'), *args, ok=False)
  assert words in process.stderr and 'Traceback' not in process.stderr


def test_other_inputs_and_other_models_are_refused(whole, call, tmp_path):
  base = ['scripts/train_sft.py', '--config=configs/sft/builtin.py',
          *overrides(whole / 'agent_sft')]
  again = call(*base, f'--workdir={whole / "agent_sft"}', '--config.seed=9',
               ok=False)
  assert 'config.seed was 0, is 9' in again.stderr
  other = call(*base, f'--workdir={tmp_path / "y"}', '--config.model.d_ff=32',
               f'--config.init_from={whole / "agent_sft"}', ok=False)
  assert 'of another model' in other.stderr
