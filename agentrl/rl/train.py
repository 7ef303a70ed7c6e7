"""GRPO on whole dialogues, against executable checkers: the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import time
from typing import Annotated, Any, NamedTuple

import jax
import ml_collections
import numpy as np
import tqdm

from agentrl import checkpoint
from agentrl import metrics
from agentrl import resolve
from agentrl import sharding
from agentrl import types
from agentrl.data import episodes as data_lib
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.envs import outcomes
from agentrl.models import kernels
from agentrl.models import transformer
from agentrl.rl import collect
from agentrl.rl import losses
from agentrl.rollout import play
from agentrl.rollout import policy
from agentrl.rollout import sampling
from agentrl.rollout import trajectory
from agentrl.stage import bundles
from agentrl.stage import fields
from agentrl.stage import inputs as inputs_lib
from agentrl.stage import runs
from agentrl.train import loop
from agentrl.train import optimizer
from agentrl.train import tuning


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of the config; configs/grpo/builtin.py explains them."""

  seed: int
  domains: tuple[str, ...]
  env: Mapping[str, Any]
  data: str
  init_from: str
  user: str
  model: bundles.ModelFields
  user_model: bundles.ModelFields
  mesh: sharding.Axes
  sampler_mesh: sharding.Axes
  total_steps: int
  tasks: int
  group: int
  wave: int
  max_waves: int
  max_starved: int
  user_faults: outcomes.UserFaults
  limits: dialogue.Limits
  sampler: sampling.Sampling
  user_sampler: sampling.Sampling
  advantage: str
  filter: str
  loss: str
  loss_kw: Mapping[str, Any]
  micro_rows: int
  optimizer: Annotated[Mapping[str, Any],
                       fields.ArgumentsOf(optimizer.make, positional=1)]
  lora: tuning.Lora
  save_every: int


class Starved(ValueError):
  """Too many steps in a row found too few groups worth training on."""


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return fields.read(Config, config, name=name)


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Improves an agent by GRPO; see configs/grpo/builtin.py.

  Source: arXiv:2601.22607. A run that was stopped resumes from its last
  checkpoint, and ends as if it had not been: the tasks and the seeds of a step
  are functions of (config.seed, step) alone. A step that does not find enough
  groups worth training on trains on those it has, if any.

  Raises:
    ValueError: a wrong config, or inputs that do not fit it.
    Starved: too many steps in a row found too few groups; the run can go on.
  """
  config = read_config(config)
  partition = tuning.make(jax.random.key(config.seed),
                          **dataclasses.asdict(config.lora))
  tx = optimizer.make(config.total_steps, **config.optimizer)
  advantage = resolve.name(config.advantage)
  why_dead = resolve.name(config.filter)
  loss = _loss(config)
  run = runs.start(workdir, 'grpo', config, {
      'data': config.data, 'init_from': config.init_from, 'user': config.user})
  if run.done:
    return
  env = env_load.load_many(config.domains, config.env)
  tasks = data_lib.tasks(run.inputs['data'], 'train')
  if not tasks:
    raise ValueError(f'config.data={config.data!r} holds no tasks of the split '
                     "'train': there is nothing to train on.")
  data_lib.verify(env, tasks)
  models = _describe(config, run.inputs)
  model, vocab = models.agent.model, models.agent.vocab
  training = loop.make(
      functools.partial(transformer.init, model, jax.random.key(config.seed)),
      functools.partial(loss, model=model), tx, mesh=models.mesh,
      micro_rows=config.micro_rows, partition=partition)
  manager = checkpoint.Manager(run.folder / 'checkpoints')
  done, state, frozen, _ = loop.restore_or_init(
      manager, training,
      lambda: bundles.load(models.agent, models.mesh).params)
  agent = policy.from_bundle(
      bundles.Bundle(model, vocab, partition.merge(state.params, frozen),
                     digest=''),
      *models.sampler_meshes, **dataclasses.asdict(config.sampler))
  user = policy.from_bundle(
      bundles.load(models.user, models.sampler_meshes[0]),
      *models.sampler_meshes, **dataclasses.asdict(config.user_sampler))
  rules = outcomes.rules(config.user_faults)
  play_all = functools.partial(
      _play, env, agent=agent, user=user, limits=config.limits,
      reroll_faults=config.user_faults == 'reroll')
  waves = collect.Waves(
      tasks=config.tasks, group=config.group, wave=config.wave,
      max_waves=config.max_waves)
  buckets = row_buckets(waves, config.micro_rows, config.limits.max_steps)

  writer = metrics.MetricsWriter(run.folder, done)
  root_key, starved = jax.random.key(config.seed), 0
  bar = tqdm.tqdm(total=config.total_steps, initial=done, unit='step',
                  desc='GRPO')
  for step in range(done, config.total_steps):
    began = time.monotonic()
    agent.load(partition.merge(state.params, frozen))
    try:
      batch = collect.collect(
          play_all, tasks, jax.random.fold_in(root_key, step), waves=waves,
          why_dead=why_dead, rules=rules)
    finally:
      agent.rest(forget=True)  # frees memory for the update
      user.rest()
    played = time.monotonic()
    values = {f'train/{k}': v for k, v in collect.metrics(batch, rules).items()}
    if batch.groups:
      arrays = _arrays(batch, advantage(batch.reward_PG, batch.valid_PG), rules,
                       length=config.sampler.length, buckets=buckets)
      state, update_values = training.update(state, arrays, frozen)
      values |= loop.to_floats(update_values)
    values |= _times(began, played, batch.played)
    writer.write(step, values)
    starved = starved + 1 if batch.shortage else 0
    if starved == config.max_starved:
      manager.save(step + 1, state, {})
      manager.close()
      raise Starved(f'GRPO stopped after {step + 1} of {config.total_steps} '
                    f'steps, as {starved} in a row found too few groups. '
                    f'{batch.shortage} The same command goes on from here.')
    bar.update()
    bar.set_postfix_str(f'reward {values["train/reward_mean"]:.3f}, '
                        f'{values["time/dialogues_per_s"]:.1f} dialogues/s')
    if (step + 1) % config.save_every == 0:
      manager.save(step + 1, state, {})
  bar.close()
  manager.close()
  writer.close()
  if config.lora.rank:
    checkpoint.save_params(run.folder / 'adapters', state.params)
  run.finish(bundles.save(run.folder, model, vocab,
                          partition.merge(state.params, frozen)))


def _loss(config: Config) -> Callable[..., Any]:
  """Returns `losses.batch_loss` with everything but params, batch and model.

  Raises:
    ValueError: the loss does not take `loss_kw`, or samples would be greedy.
  """
  if not config.sampler.temperature > 0:
    raise ValueError(
        f'config.sampler.temperature={config.sampler.temperature} must be '
        'above 0: GRPO learns from samples that differ, and greedy ones do '
        'not. Set it to 1.0 if in doubt.')
  loss = resolve.name(config.loss)
  fields.check_arguments(loss, config.loss_kw, 'config.loss_kw', positional=3)
  return functools.partial(
      losses.batch_loss, temperature=config.sampler.temperature, loss=loss,
      loss_kw=config.loss_kw)


class _Models(NamedTuple):
  """The models of a run and the meshes that they are laid out over.

  Attributes:
    agent: the model to train.
    user: the user model.
    mesh: mesh of the training.
    sampler_meshes: one mesh for each engine.
  """

  agent: bundles.Description
  user: bundles.Description
  mesh: jax.sharding.Mesh
  sampler_meshes: list[jax.sharding.Mesh]


def _describe(config: Config, inputs: Mapping[str, inputs_lib.Input]
             ) -> _Models:
  """Returns the models and their meshes; no parameters are read.

  Raises:
    ValueError: a model does not fit its mesh.
  """
  agent = bundles.describe(inputs['init_from'], config.model)
  user = bundles.describe(inputs['user'], config.user_model)
  mesh = sharding.make_mesh(config.mesh)
  sharding.check(agent.model, mesh, name='config.init_from')
  field = 'config.sampler_mesh'
  sampler_meshes = sharding.replicas(sharding.make_mesh(
      config.sampler_mesh, field=field))
  sharding.check(agent.model, sampler_meshes[0], field=field,
                 name='config.init_from')
  sharding.check(user.model, sampler_meshes[0], field=field, name='config.user')
  kernels.check_length(agent.model.attention, config.sampler.length,
                       'config.sampler.length')
  return _Models(agent, user, mesh, sampler_meshes)


def _play(env: env_lib.Env, tasks: Sequence[types.Task], seeds: Sequence[int],
          *, agent: policy.Policy, user: policy.Policy,
          limits: dialogue.Limits, reroll_faults: bool
         ) -> list[types.Episode]:
  with tqdm.tqdm(total=len(tasks), unit='dialogue', desc='  playing',
                 leave=False) as bar:
    return play.play(env, tasks, agent=agent, user=user, seeds=seeds,
                     limits=limits, reroll_faults=reroll_faults,
                     progress=bar.update)


def row_buckets(waves: collect.Waves, micro_rows: int, max_steps: int
               ) -> tuple[int, ...]:
  """Returns the numbers of rows that a batch may have; empty rows cost nothing.

  The first number holds a sequence for each dialogue of the largest batch, the
  last one for each step of each dialogue, the most that `history_thinking` can
  lead to.

  Args:
    waves: size of a batch.
    micro_rows: every number is a multiple of it.
    max_steps: most steps of a dialogue.
  """
  most = (waves.tasks - 1 + waves.wave) * waves.group
  rows = -(-most // micro_rows) * micro_rows
  return tuple(rows << k for k in range(max_steps.bit_length() + 1))


def _arrays(batch: collect.Batch, adv_PG: np.ndarray, rules: collect.Rules, *,
            length: int, buckets: Sequence[int]) -> dict[str, np.ndarray]:
  """Packs the episodes whose outcome may enter the gradient."""
  pairs = [(episode, adv)
           for group, adv_G in zip(batch.groups, adv_PG)
           for episode, adv in zip(group, adv_G)
           if rules[episode.outcome].gradient]
  return trajectory.to_batch(*zip(*pairs), length=length,
                             buckets=buckets)


def _times(began: float, played: float,
           episodes: Sequence[types.Episode]) -> dict[str, float]:
  """Returns the seconds of the parts of a step, and its rates."""
  rollout, total = played - began, time.monotonic() - began
  sampled = sum(int(e.agent.sampled_T.sum()) for e in episodes if e.agent)
  return {'time/rollout_s': rollout, 'time/update_s': total - rollout,
          'time/step_s': total, 'time/dialogues_per_s': len(episodes) / rollout,
          'time/agent_tokens_per_s': sampled / rollout}
