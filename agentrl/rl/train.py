"""GRPO on whole dialogues, against executable checkers: the loop."""

from __future__ import annotations

from collections.abc import Sequence
import functools
import sys
import time

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
from agentrl.models import config as model_config
from agentrl.models import kernels
from agentrl.models import transformer
from agentrl.rl import collect
from agentrl.rl import losses
from agentrl.rollout import play
from agentrl.rollout import policy
from agentrl.rollout import trajectory
from agentrl.stage import bundles
from agentrl.stage import runs
from agentrl.tokenizer import vocab as vocab_lib
from agentrl.train import loop
from agentrl.train import optimizer
from agentrl.train import tuning


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Improves an agent by GRPO; see configs/grpo/builtin.py.

  Source: arXiv:2601.22607. A run that was stopped goes on from its last
  checkpoint as if nothing had been: the tasks and the seeds of a step are
  functions of (config.seed, step) alone. A run that no longer finds groups
  worth training on ends with what it has learnt, and its manifest says so.

  Raises:
    ValueError: a wrong config, or inputs that do not fit it.
    rl.collect.GroupsDied: the very first batch could not be filled.
  """
  tuned = tuning.make(jax.random.key(config.seed), **config.lora)
  if not config.sampler.temperature > 0:
    raise ValueError(
        f'config.sampler.temperature={config.sampler.temperature} must be '
        'above 0: GRPO learns from samples that differ, and greedy ones do '
        'not. Set it to 1.0 if in doubt.')
  run = runs.start(workdir, 'grpo', config, {
      'data': config.data, 'init_from': config.init_from, 'user': config.user})
  if run.done:
    return
  env = env_load.load_many(config.domains, config.env)
  tasks = data_lib.tasks(config.data, 'train')
  if not tasks:
    raise ValueError(f'config.data={config.data!r} holds no tasks of the split '
                     "'train': there is nothing to train on.")
  data_lib.verify(env, tasks)
  model, vocab, mesh, places = _places(config)
  advantage = resolve.name(config.advantage)
  why_dead = resolve.name(config.filter)
  loss_fn = functools.partial(
      losses.batch_loss, model=model, temperature=config.sampler.temperature,
      loss=resolve.name(config.loss), loss_kw=dict(config.loss_kw))
  first, like, update = loop.make(
      functools.partial(transformer.init, model, jax.random.key(config.seed)),
      loss_fn, optimizer.make(**config.optimizer),
      mesh=mesh, micro_rows=config.micro_rows, tuned=tuned)
  manager = checkpoint.Manager(run.folder / 'checkpoints')
  restored, params = manager.restore(like), None
  if config.lora.rank or not restored:
    params = bundles.load(config.init_from, mesh, 'init_from',
                         config.model).params
  frozen = tuned.frozen(params)
  done, state, _ = restored or (0, first(params), None)
  del restored, params  # else a copy of the weights stays beside the state
  agent = policy.from_bundle(
      bundles.Bundle(model, vocab, tuned.merge(state.params, frozen),
                     digest=''),
      *places, **config.sampler)
  user = policy.from_bundle(
      bundles.load(config.user, places[0], 'user', config.user_model), *places,
      **config.user_sampler)
  play_all = functools.partial(
      _play, env, agent=agent, user=user,
      limits=dialogue.Limits(**config.limits))

  writer = metrics.Writer(run.folder, done)
  root_key, stopped = jax.random.key(config.seed), ''
  bar = tqdm.tqdm(total=config.total_steps, initial=done, unit='step',
                  desc='GRPO')
  for step in range(done, config.total_steps):
    began = time.monotonic()
    agent.load(tuned.merge(state.params, frozen))
    try:
      batch = collect.collect(
          play_all, tasks, jax.random.fold_in(root_key, step),
          num_tasks=config.tasks, group=config.group, wave=config.wave,
          max_waves=config.max_waves, why_dead=why_dead)
    except collect.GroupsDied as e:
      if not step:
        raise
      stopped = f'after {step} of {config.total_steps} steps: {e}'
      break
    finally:
      agent.rest(forget=True)  # the update has their memory
      user.rest()
    played = time.monotonic()
    arrays = _arrays(batch, advantage(batch.reward_PG, batch.valid_PG),
                     length=config.sampler.length, buckets=row_buckets(config))
    state, values = update(state, arrays, frozen)
    values = loop.to_floats(values) | {
        f'train/{k}': v for k, v in collect.metrics(batch).items()}
    values |= _times(began, played, batch.played)
    writer.write(step, values)
    bar.update()
    bar.set_postfix_str(f'reward {values["train/reward_mean"]:.3f}, '
                        f'{values["time/dialogues_per_s"]:.1f} dialogues/s')
    if (step + 1) % config.save_every == 0:
      manager.save(step + 1, state, {})
  bar.close()
  manager.close()
  writer.close()
  if stopped:
    print(f'GRPO ended {stopped}', file=sys.stderr)
  if config.lora.rank:
    checkpoint.save_params(run.folder / 'adapters', state.params)
  run.finish(bundles.save(run.folder, model, vocab,
                         tuned.merge(state.params, frozen)), stopped=stopped)


def _places(config: ml_collections.ConfigDict
            ) -> tuple[model_config.ModelConfig, vocab_lib.AnyVocab,
                       jax.sharding.Mesh, list[jax.sharding.Mesh]]:
  """Shape and vocabulary of the agent, the mesh that trains it and those that
  sample, where both sides fit; no weights are read.

  Raises:
    ValueError: they do not.
  """
  model, vocab = bundles.describe(config.init_from, 'init_from', config.model)
  user, _ = bundles.describe(config.user, 'user', config.user_model)
  mesh = sharding.make_mesh(config.mesh)
  sharding.check(model, mesh, name='config.init_from')
  field = 'config.sampler_mesh'
  places = sharding.replicas(sharding.make_mesh(
      config.sampler_mesh, field=field))
  sharding.check(model, places[0], field=field, name='config.init_from')
  sharding.check(user, places[0], field=field, name='config.user')
  kernels.check_length(model.attention, config.sampler.length,
                       'config.sampler.length')
  return model, vocab, mesh, places


def _play(env: env_lib.Env, tasks: Sequence[types.Task], seeds: Sequence[int],
          *, agent: policy.Policy, user: policy.Policy,
          limits: dialogue.Limits) -> list[types.Episode]:
  with tqdm.tqdm(total=len(tasks), unit='dialogue', desc='  playing',
                 leave=False) as bar:
    return play.play(env, tasks, agent=agent, user=user, seeds=seeds,
                     limits=limits, progress=bar.update)


def row_buckets(config: ml_collections.ConfigDict) -> tuple[int, ...]:
  """Numbers of rows that a batch may have; what stays empty costs nothing.

  The first holds a sequence of each dialogue of the largest batch, the last
  one of each step of it, which takes no more (`history_thinking`).
  """
  most = (config.tasks - 1 + config.wave) * config.group
  rows = -(-most // config.micro_rows) * config.micro_rows
  return tuple(rows << k for k in range(
      int(config.limits.max_steps).bit_length() + 1))


def _arrays(batch: collect.Batch, adv_PG: np.ndarray, *, length: int,
            buckets: Sequence[int]) -> dict[str, np.ndarray]:
  """The packed batch; what may not move the agent is left out."""
  pairs = [(episode, adv)
           for group, adv_G in zip(batch.groups, adv_PG)
           for episode, adv in zip(group, adv_G)
           if outcomes.RULES[episode.outcome].gradient]
  return trajectory.to_batch(*zip(*pairs), length=length,
                             buckets=buckets)


def _times(began: float, played: float,
           episodes: Sequence[types.Episode]) -> dict[str, float]:
  """Where the seconds of a step went."""
  rollout, total = played - began, time.monotonic() - began
  sampled = sum(int(e.agent.sampled_T.sum()) for e in episodes if e.agent)
  return {'time/rollout_s': rollout, 'time/update_s': total - rollout,
          'time/step_s': total, 'time/dialogues_per_s': len(episodes) / rollout,
          'time/agent_tokens_per_s': sampled / rollout}
