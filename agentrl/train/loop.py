"""The state and the update that the loops of SFT and GRPO share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from agentrl import checkpoint
from agentrl import sharding
from agentrl.train import tuning
from agentrl.train import updates

# (state, batch, frozen=()) -> (state, metrics)
Update = Callable[..., tuple[updates.TrainState, updates.Metrics]]


class Training(NamedTuple):
  """The parts of a training run that depend on its mesh.

  Attributes:
    init: params -> first state; consumes params unless they are frozen; None
      stands for fresh ones.
    abstract_state: shapes and shardings of the state.
    update: jitted update of rows [B, T]; consumes the state, but not the frozen
      parameters.
    partition: see `tuning.Partition`.
  """

  init: Callable[[Any], updates.TrainState]
  abstract_state: Any
  update: Update
  partition: tuning.Partition


class Start(NamedTuple):
  """The state that a loop starts or resumes from.

  Attributes:
    step: number of updates done.
    state: the state after them.
    frozen: frozen parameters, () if there are none.
    position: where the data iterator stood; None at the very start.
  """

  step: int
  state: updates.TrainState
  frozen: Any
  position: Any


def make(make_params: Callable[[], Any], loss_fn: updates.LossFn,
         tx: optax.GradientTransformation, *, mesh: jax.sharding.Mesh,
         micro_rows: int, partition: tuning.Partition = tuning.FULL
         ) -> Training:
  """Lays a training run out over a mesh.

  Args:
    make_params: makes fresh parameters; traced, so that arrays are born
      sharded.
    loss_fn: see `train.updates`.
    tx: the optimiser.
    mesh: devices of the run.
    micro_rows: rows of a part of the batch, see `train.updates`.
    partition: which parameters are trained.
  """
  begin = lambda params: updates.init(partition.trained(params), tx)
  params_shardings = _shardings(sharding.abstract(make_params, mesh))
  abstract_state = sharding.abstract(lambda: begin(make_params()), mesh)
  frozen_shardings = partition.frozen(params_shardings)
  jitted = compiled(
      updates.make_update(loss_fn, tx, partition.combine),
      _shardings(abstract_state), frozen_shardings, mesh=mesh,
      micro_rows=micro_rows)
  update = lambda state, batch, frozen=(): jitted(
      state, updates.split(batch, micro_rows), frozen)
  fresh = jax.jit(make_params, out_shardings=params_shardings)
  start = jax.jit(begin, donate_argnums=() if frozen_shardings else 0,
                  out_shardings=_shardings(abstract_state))
  init = lambda params: start(fresh() if params is None else params)
  return Training(init, abstract_state, update, partition)


def restore_or_init(manager: checkpoint.Manager, training: Training,
                    load: Callable[[], Any] | None) -> Start:
  """Restores the newest checkpoint, or makes the first state.

  On return no copy of the parameters is left beside the state and the frozen
  ones. They are not read if the checkpoint holds them all.

  Args:
    manager: checkpoints of the run.
    training: layout of the run.
    load: reads the parameters to start from; None starts from fresh ones.
  """
  restored = manager.restore(training.abstract_state)
  params = None
  if load and (training.partition.needs_base or not restored):
    params = load()
  frozen = training.partition.frozen(params)
  if restored:
    return Start(restored.step, restored.state, frozen, restored.position)
  return Start(0, training.init(params), frozen, None)


def compiled(pure: Update, state_shardings: Any, frozen_shardings: Any = (), *,
             mesh: jax.sharding.Mesh, micro_rows: int) -> jax.stages.Wrapped:
  """Jits update(state, batch in parts, frozen), which consumes its state.

  Args:
    pure: see `train.updates.make_update`.
    state_shardings: shardings of the state.
    frozen_shardings: shardings of the frozen parameters.
    mesh: devices of the run; set while tracing, for computations that use
      `shard_map`.
    micro_rows: rows of a part of the batch.
  """
  def update(*args):
    with sharding.on(mesh):
      return pure(*args)
  return jax.jit(
      update, donate_argnums=0,
      in_shardings=(state_shardings, sharding.batch(mesh, micro_rows),
                    frozen_shardings),
      out_shardings=(state_shardings, sharding.replicated(mesh)))


def to_floats(metrics: Mapping[str, jax.Array]) -> dict[str, float]:
  """Waits for a step and fetches its metrics, under `train/`."""
  return {f'train/{k}': float(v) for k, v in jax.device_get(metrics).items()}


def _shardings(abstract: Any) -> Any:
  return jax.tree.map(lambda x: x.sharding, abstract)
