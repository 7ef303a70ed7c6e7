"""What the loops of SFT and RL share: a state on a mesh, and its update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from agentrl import sharding
from agentrl.train import update as update_lib

Update = Callable[[update_lib.TrainState, Any],
                  tuple[update_lib.TrainState, update_lib.Metrics]]


def make(make_params: Callable[[], Any], loss_fn: update_lib.LossFn,
         tx: optax.GradientTransformation, *, mesh: jax.sharding.Mesh,
         micro_rows: int) -> tuple[Callable[[], Any], Any, Update]:
  """Everything about a training run that depends on its mesh.

  Args:
    make_params: makes fresh parameters; traced, so that arrays are born
      where they live.
    loss_fn: see `train.update`.
    tx: the optimiser.
    mesh: where all lies.
    micro_rows: rows of a part of the batch, see `train.update`.

  Returns:
    (a function that makes the first state, the state's shapes and shardings,
    the update of rows [B, T], jitted, which consumes its state).
  """
  first = lambda: update_lib.init(make_params(), tx)
  like = sharding.abstract(first, mesh)
  places = jax.tree.map(lambda x: x.sharding, like)
  jitted = compiled(loss_fn, tx, places, mesh=mesh, micro_rows=micro_rows)
  update = lambda state, batch: jitted(
      state, update_lib.split(batch, micro_rows))
  return jax.jit(first, out_shardings=places), like, update


def compiled(loss_fn: update_lib.LossFn, tx: optax.GradientTransformation,
             places: Any, *, mesh: jax.sharding.Mesh, micro_rows: int
             ) -> jax.stages.Wrapped:
  """The jitted update(state, batch in parts), which consumes its state.

  Args:
    loss_fn: see `train.update`.
    tx: the optimiser.
    places: shardings of the state.
    mesh: where all lies; what it computes by `shard_map` finds it set.
    micro_rows: see `make`.
  """
  pure = update_lib.make_update(loss_fn, tx)

  def update(state, batch):
    with sharding.on(mesh):
      return pure(state, batch)
  return jax.jit(update, donate_argnums=0,
                 in_shardings=(places, sharding.batch(mesh, micro_rows)),
                 out_shardings=(places, sharding.replicated(mesh)))


def to_floats(metrics: Mapping[str, jax.Array]) -> dict[str, float]:
  """Waits for the step and fetches its metrics, under `train/`."""
  return {f'train/{k}': float(v) for k, v in jax.device_get(metrics).items()}
