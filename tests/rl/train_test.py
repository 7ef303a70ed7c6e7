"""The loop of GRPO: its memory, its inputs, and errors at the start."""

import collections
import gc
import shutil

import jax
import jax.numpy as jnp
import ml_collections
import pytest

pytest.importorskip('tokenizers')

from agentrl import checkpoint  # noqa: E402
from agentrl import files
from agentrl import jsons
from agentrl import metrics
from agentrl import testing  # noqa: E402
from agentrl import types  # noqa: E402
from agentrl.data import episodes  # noqa: E402
from agentrl.envs import load as env_load  # noqa: E402
from agentrl.models import transformer  # noqa: E402
from agentrl.rl import collect  # noqa: E402
from agentrl.rl import train  # noqa: E402
from agentrl.rollout import policy  # noqa: E402
from agentrl.stage import bundles  # noqa: E402
from agentrl.stage import runs  # noqa: E402
from configs.grpo import builtin  # noqa: E402

READ_TASKS = episodes.tasks
# No other array of this process is of its embedding's shape.
MODEL = testing.tiny_model(tie_embeddings=True, vocab_size=271)


@pytest.fixture
def config(tmp_path, monkeypatch):
  """Config of a run with one tiny model as agent and user."""
  empty = ml_collections.ConfigDict()
  sft = runs.start(tmp_path / 'sft', 'sft', empty)
  shapes = jax.eval_shape(
      lambda: transformer.init(MODEL, jax.random.key(0)))
  sft.finish(bundles.save(
      sft.folder, MODEL, testing.chatml_vocab(),
      jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)))
  data = runs.start(tmp_path / 'data', 'data', empty)
  files.write_lines(data.folder / 'tasks_train.jsonl',
                    [jsons.dumps(testing.echo_task())])
  data.finish()
  monkeypatch.setattr(env_load, 'load_many', lambda *args: testing.EchoEnv())
  monkeypatch.setattr(episodes, 'tasks', lambda *args: [testing.echo_task()])
  config = builtin.get_config()
  config.mesh.data = 1
  config.data = str(tmp_path / 'data')
  config.init_from = config.user = str(tmp_path / 'sft')
  config.sampler.length = config.user_sampler.length = 64
  return config


class Silent:
  """A policy that samples nothing and keeps no weights."""

  def load(self, params):
    pass

  def rest(self, forget=False):
    pass


class Restored(checkpoint.Manager):
  """Checkpoints of a run that has made a step."""

  def restore(self, abstract_state):
    return checkpoint.Restored(1, jax.tree.map(lambda x: jnp.zeros(
        x.shape, x.dtype, device=x.sharding), abstract_state), {})


@pytest.mark.parametrize('manager', [checkpoint.Manager, Restored])
@pytest.mark.parametrize('rank, copies', [(0, 3), (2, 1)])
def test_one_copy_of_the_weights_beside_their_moments(
    config, tmp_path, monkeypatch, manager, rank, copies):
  def play(*args, **kwargs):
    gc.collect()
    addresses = {x.unsafe_buffer_pointer() for x in jax.live_arrays()
             if x.shape == (MODEL.vocab_size, MODEL.d_model)}
    raise KeyboardInterrupt(f'{len(addresses)} copies')
  monkeypatch.setattr(collect, 'collect', play)
  monkeypatch.setattr(checkpoint, 'Manager', manager)
  monkeypatch.setattr(policy, 'from_bundle', lambda *args, **kwargs: Silent())
  config.lora.rank = rank
  config.optimizer.norm_lr = 1.0
  with pytest.raises(KeyboardInterrupt, match=f'^{copies} copies'):
    train.train(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('change, words', [
    ({'sampler_mesh.tensor': 2}, r'^config.sampler_mesh .* needs 2 devices'),
    ({'sampler_mesh.data': 0}, r'^config.sampler_mesh.data must be'),
    ({'mesh.fsdp': 2}, r'^config.mesh .* needs 2 devices'),
    ({'model.attention': 'splash'}, r'config.sampler.length is 64'),
    ({'sampler.temperature': 0.0}, r'temperature=0.0 must be above 0'),
    ({'loss_kw': dict(clip_lo=0.2, clip_high=0.2)},
     r'config.loss_kw.clip_lo would .* Did you mean .clip_low')])
def test_what_does_not_fit_is_refused_before_weights_are_read(
    config, tmp_path, monkeypatch, change, words):
  monkeypatch.setattr(bundles, 'load', None)
  config.model.attention = 'xla'
  config.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=words):
    train.train(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('gold, words', [
    (None, r'config.data=.* holds no tasks of the split .train'),
    (types.GoldRun((), ()), 'The gold run of task say-maple fails')])
def test_tasks_that_cannot_be_trained_on_are_refused(
    config, tmp_path, monkeypatch, gold, words):
  tasks = [] if gold is None else [testing.echo_task(gold=gold)]
  monkeypatch.setattr(episodes, 'tasks', lambda *args: tasks)
  monkeypatch.setattr(bundles, 'load', None)
  with pytest.raises(ValueError, match=words):
    train.train(config, str(tmp_path / 'run'))


def test_a_run_without_groups_stops_unfinished_and_goes_on(
    config, tmp_path, monkeypatch):
  lost = types.Episode('say-maple', 0, (), 'tool_error',
                       types.Outcome.TOOL_ERROR, types.Score(0.0), 1)
  monkeypatch.setattr(train, '_play',
                      lambda env, tasks, *args, **kw: [lost] * len(tasks))
  monkeypatch.setattr(policy, 'from_bundle', lambda *args, **kwargs: Silent())
  config.update(dict(max_starved=2, max_waves=1, total_steps=3))
  folder = tmp_path / 'run'
  with pytest.raises(train.Starved, match='after 2 of 3 steps.*too hard'):
    train.train(config, str(folder))
  assert not (folder / 'manifest.json').exists()
  steps = metrics.read(folder)
  assert [r['step'] for r in steps] == [0, 1]
  assert steps[0]['train/outcome_tool_error_share'] == 1
  train.train(config, str(folder))  # one starved step is not enough to stop
  assert (folder / 'manifest.json').exists()
  assert [r['step'] for r in metrics.read(folder)] == [0, 1, 2]


def test_the_files_of_an_input_are_read_once(config, tmp_path, monkeypatch):
  read, count = files.read_json, collections.Counter()

  def read_json(path):
    count[str(path)] += 1
    return read(path)

  def play(*args, **kwargs):
    raise KeyboardInterrupt
  monkeypatch.setattr(files, 'read_json', read_json)
  monkeypatch.setattr(collect, 'collect', play)
  monkeypatch.setattr(policy, 'from_bundle', lambda *args, **kwargs: Silent())
  monkeypatch.setattr(episodes, 'tasks', READ_TASKS)
  shutil.copytree(tmp_path / 'sft', tmp_path / 'user')
  config.user = str(tmp_path / 'user')
  with pytest.raises(KeyboardInterrupt):
    train.train(config, str(tmp_path / 'run'))
  for name in ('data', 'sft', 'user'):
    assert count[str(tmp_path / name / 'manifest.json')] == 1, count
  for name in ('sft', 'user'):
    assert count[str(tmp_path / name / 'model.json')] == 1, count


def test_the_schedule_ends_with_the_run(config, tmp_path, monkeypatch):
  """Overriding total_steps alone moves the end of the cosine, too."""
  totals = []

  def make(total_steps, **kw):
    totals.append(total_steps)
    raise KeyboardInterrupt
  monkeypatch.setattr(train.optimizer, 'make', make)
  config.total_steps = 7
  with pytest.raises(KeyboardInterrupt):
    train.train(config, str(tmp_path / 'run'))
  assert totals == [7]
