"""What the loops of SFT and RL share: a state on a mesh, and its update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from agentrl import sharding
from agentrl.train import tuning
from agentrl.train import updates

# (state, batch, frozen=()) -> (state, metrics)
Update = Callable[..., tuple[updates.TrainState, updates.Metrics]]


def make(make_params: Callable[[], Any], loss_fn: updates.LossFn,
         tx: optax.GradientTransformation, *, mesh: jax.sharding.Mesh,
         micro_rows: int, tuned: tuning.Tuning = tuning.FULL
         ) -> tuple[Callable[..., Any], Any, Update]:
  """Everything about a training run that depends on its mesh.

  Args:
    make_params: makes fresh parameters; traced, so that arrays are born
      where they live.
    loss_fn: see `train.updates`.
    tx: the optimiser.
    mesh: where all lies.
    micro_rows: rows of a part of the batch, see `train.updates`.
    tuned: what of the parameters is trained.

  Returns:
    (a function that makes the first state of given parameters, which it
    consumes unless they are frozen, or else of fresh ones; the state's shapes
    and shardings; the update of rows [B, T], jitted, which consumes its state
    but not what is frozen).
  """
  begin = lambda params: updates.init(tuned.init(params), tx)
  params_like = sharding.abstract(make_params, mesh)
  params_places = jax.tree.map(lambda x: x.sharding, params_like)
  like = sharding.abstract(lambda: begin(make_params()), mesh)
  places = jax.tree.map(lambda x: x.sharding, like)
  frozen_places = tuned.frozen(params_places)
  jitted = compiled(
      updates.make_update(loss_fn, tx, tuned.join), places, frozen_places,
      mesh=mesh, micro_rows=micro_rows)
  update = lambda state, batch, frozen=(): jitted(
      state, updates.split(batch, micro_rows), frozen)
  fresh = jax.jit(make_params, out_shardings=params_places)
  start = jax.jit(begin, donate_argnums=() if frozen_places else 0,
                  out_shardings=places)
  first = lambda params=None: start(fresh() if params is None else params)
  return first, like, update


def compiled(pure: Update, places: Any, frozen_places: Any = (), *,
             mesh: jax.sharding.Mesh, micro_rows: int) -> jax.stages.Wrapped:
  """The jitted update(state, batch in parts, frozen), which consumes its state.

  Args:
    pure: see `train.updates.make_update`.
    places: shardings of the state.
    frozen_places: of what is not trained.
    mesh: where all lies; what it computes by `shard_map` finds it set.
    micro_rows: see `make`.
  """
  def update(*args):
    with sharding.on(mesh):
      return pure(*args)
  return jax.jit(
      update, donate_argnums=0,
      in_shardings=(places, sharding.batch(mesh, micro_rows), frozen_places),
      out_shardings=(places, sharding.replicated(mesh)))


def to_floats(metrics: Mapping[str, jax.Array]) -> dict[str, float]:
  """Waits for the step and fetches its metrics, under `train/`."""
  return {f'train/{k}': float(v) for k, v in jax.device_get(metrics).items()}
