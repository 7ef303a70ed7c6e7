"""Lowers the programs of a config for devices that are not there.

They are those that the stages run: the update with its donation and
shardings, the engine's steps. Shapes come from the config; no weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from agentrl import resolve
from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import flops
from agentrl.models import mesh as mesh_lib
from agentrl.models import moe
from agentrl.models import transformer
from agentrl.rl import collect
from agentrl.rl import losses
from agentrl.rl import train as rl_train
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import policy
from agentrl.sft import likelihood
from agentrl.sft import train as sft_train
from agentrl.train import loop
from agentrl.train import optimizer
from agentrl.train import tuning
from agentrl.train import updates

_PACKED = {'ids_BT': 'int32', 'positions_BT': 'int32', 'segments_BT': 'int32',
           'target_BT': 'bool'}
_SAMPLED = {'logp_old_BT': 'float32', 'adv_BT': 'float32'}


@dataclasses.dataclass
class Program:
  """One program on one mesh.

  Attributes:
    name: `update`, or side and step of an engine.
    lowered: the program before it is compiled.
    held: kind of array (as `parameters`) to bytes of a device; they stay when
      the program has ended.
    devices: number of devices of its mesh.
    flops: FLOPs that the model needs, recomputed ones left out.
    parts: turns of a loop of unknown length: parts of a batch, tokens of a
      burst.
    tokens: tokens that it trains on or samples.
    slots: dialogues of its engine; 0: it is no engine's.
    branches: see `hlo.costs`.
  """

  name: str
  lowered: jax.stages.Lowered
  held: dict[str, int]
  devices: int
  flops: float
  parts: int
  tokens: int
  slots: int = 0
  branches: Mapping[str, float] = dataclasses.field(default_factory=dict)


def lower(config: ml_collections.ConfigDict, devices: Sequence[Any]
         ) -> list[Program]:
  """Lowers all programs of a stage.

  Args:
    config: config of SFT or GRPO.
    devices: devices that its meshes lie over.

  Returns:
    The update, then the steps of both engines where there are any.

  Raises:
    ValueError: not such a config, or one that does not fit the devices.
  """
  if 'group' in config:
    rl_train.read_config(config)
    return [_grpo(config, devices), *_engine(config, devices, 'agent'),
            *_engine(config, devices, 'user')]
  if 'side' in config:
    sft_train.read_config(config)
    return [_sft(config, devices)]
  raise ValueError('Only configs of SFT (configs/sft/) and GRPO '
                   '(configs/grpo/) can be planned.')


def _model(fields: Mapping[str, Any], name: str) -> model_config.ModelConfig:
  if 'vocab_size' not in fields:
    raise ValueError(
        f'config.{name} must give the whole shape of the model, vocab_size '
        'too: no weights are read. configs/models.py has published ones.')
  return model_config.make(fields)


def _sft(config: ml_collections.ConfigDict, devices: Sequence[Any]) -> Program:
  model = _model(config.model, 'model')
  return _update(config, devices, model,
                 functools.partial(likelihood.next_token, model=model),
                 (config.batch_size, config.length), _PACKED)


def _grpo(config: ml_collections.ConfigDict, devices: Sequence[Any]
         ) -> Program:
  model = _model(config.model, 'model')
  loss_fn = functools.partial(
      losses.batch_loss, model=model, temperature=config.sampler.temperature,
      loss=resolve.name(config.loss), loss_kw=dict(config.loss_kw))
  # A full batch; more rows come if the last wave fills it beyond that.
  rows = math.lcm(config.tasks * config.group, config.micro_rows)
  rows = min(rows, rl_train.row_buckets(
      collect.Waves(config.tasks, config.group, config.wave, config.max_waves),
      config.micro_rows, config.limits.max_steps)[0])
  return _update(config, devices, model, loss_fn,
                 (rows, config.sampler.length), _PACKED | _SAMPLED)


def _update(config: ml_collections.ConfigDict, devices: Sequence[Any],
            model: model_config.ModelConfig, loss_fn: updates.LossFn,
            shape: tuple[int, int], columns: Mapping[str, str]) -> Program:
  mesh = sharding.make_mesh(config.mesh, devices)
  sharding.check(model, mesh)
  tx = optimizer.make(config.total_steps, **config.optimizer)
  partition = tuning.make(jax.random.key(config.seed), **config.lora)
  state = sharding.abstract(
      lambda: updates.init(partition.trained(_init(model)), tx), mesh)
  frozen = partition.frozen(sharding.abstract(lambda: _init(model), mesh))
  place = sharding.batch(mesh, config.micro_rows)
  rows = lambda dtype: jnp.zeros(shape, dtype)
  batch = jax.eval_shape(lambda: updates.split(
      {name: rows(dtype) for name, dtype in columns.items()},
      config.micro_rows))
  batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=place), batch)
  places, frozen_places = jax.tree.map(lambda x: x.sharding, (state, frozen))
  update = loop.compiled(
      updates.make_update(loss_fn, tx, partition.combine), places,
      frozen_places, mesh=mesh, micro_rows=config.micro_rows)
  return Program(
      'update', update.lower(state, batch, frozen),
      {'parameters': per_device((state.params, frozen)),
       'optimiser': per_device(state.opt_state), 'batch': per_device(batch)},
      mesh.size, 3 * flops.forward(model, *shape, picked=1.0),
      shape[0] // config.micro_rows, math.prod(shape),
      branches=_branches(model, mesh, config.micro_rows, shape[1]))


def _engine(config: ml_collections.ConfigDict, devices: Sequence[Any],
            side: str) -> list[Program]:
  """Lowers the steps of one engine; a mesh holds one for each row of `data`."""
  fields, sampler = {
      'agent': (config.model, config.sampler),
      'user': (config.user_model, config.user_sampler)}[side]
  name = {'agent': 'model', 'user': 'user_model'}[side]
  model = _model(fields, name)
  where = 'config.sampler_mesh'
  mesh = sharding.replica(sharding.make_mesh(config.sampler_mesh, devices,
                                             field=where))
  sharding.check(model, mesh, field=where, name=f'config.{name}')
  sizes = {k: v for k, v in sampler.items() if k != 'history_thinking'}
  engine = engine_lib.Engine(model, stop_id=1, **sizes)
  params = sharding.abstract(
      lambda: policy.sampled(_init(model), model.dtype), mesh)
  cache, steps = engine.lower(params)
  held = {'parameters': per_device(params), 'cache': per_device(cache)}
  programs = []
  for name, lowered in steps.items():
    rows, tokens = jax.tree.leaves(lowered.args_info[0][2])[0].shape[0], 1
    if name == 'prefill':
      tokens = lowered.args_info[0][3].shape[1]
    burst = 1 if name == 'prefill' else engine.burst
    needed = rows * burst * tokens * flops.token(
        model, sampler.length, picked=float(name == 'decode'))
    programs.append(Program(f'{side} {name}', lowered, held, mesh.size, needed,
                         burst, rows * tokens * burst, sampler.slots,
                         _branches(model, mesh, rows, tokens)))
  return programs


def _branches(model: model_config.ModelConfig, mesh: jax.sharding.Mesh,
              rows: int, tokens: int) -> dict[str, float]:
  """Returns the share of the experts' portions that are not skipped: where
  experts are in equal use, each device has a little more or less than its share
  of the pairs, so the slower ones run one portion more."""
  if not model.num_experts:
    return {}
  ways = mesh.shape['expert']
  if mesh_lib.divides(mesh, rows):
    rows //= mesh.shape['data'] * mesh.shape['fsdp']
  count = moe.portions(rows * tokens * model.experts_per_token, ways)
  return {'/moe/': min(1.0, 1 / ways + 1 / count)}


def _init(model: model_config.ModelConfig) -> Any:
  return transformer.init(model, jax.random.key(0))


def per_device(tree: Any) -> int:
  """Counts the bytes on one device of a tree of shapes with shardings."""
  return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
             for x in jax.tree.leaves(tree))
