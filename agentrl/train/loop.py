"""What the loops of SFT and RL share: a state on a mesh, and its update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from agentrl import sharding
from agentrl.train import tuning
from agentrl.train import update as update_lib

# (state, batch, frozen=()) -> (state, metrics)
Update = Callable[..., tuple[update_lib.TrainState, update_lib.Metrics]]


def make(make_params: Callable[[], Any], loss_fn: update_lib.LossFn,
         tx: optax.GradientTransformation, *, mesh: jax.sharding.Mesh,
         micro_rows: int, tuned: tuning.Tuning = tuning.FULL
         ) -> tuple[Callable[..., Any], Any, Update]:
  """Everything about a training run that depends on its mesh.

  Args:
    make_params: makes fresh parameters; traced, so that arrays are born
      where they live.
    loss_fn: see `train.update`.
    tx: the optimiser.
    mesh: where all lies.
    micro_rows: rows of a part of the batch, see `train.update`.
    tuned: what of the parameters is trained.

  Returns:
    (a function that makes the first state of given parameters, which it
    consumes unless they are frozen, or else of fresh ones; the state's shapes
    and shardings; the update of rows [B, T], jitted, which consumes its state
    but not what is frozen).
  """
  begin = lambda params: update_lib.init(tuned.init(params), tx)
  params_shapes = jax.eval_shape(make_params)
  params_places = sharding.shardings(params_shapes, mesh)
  shapes = jax.eval_shape(begin, params_shapes)
  places = sharding.shardings(shapes, mesh)
  frozen_places = tuned.frozen(params_places)
  like = jax.tree.map(
      lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
      shapes, places)
  plain = update_lib.make_update(loss_fn, tx, tuned.join)

  def on_mesh(*args):
    with sharding.on(mesh):
      return plain(*args)
  jitted = jax.jit(
      on_mesh, donate_argnums=0,
      in_shardings=(places, sharding.batch(mesh, micro_rows),
                    frozen_places),
      out_shardings=(places, sharding.replicated(mesh)))
  update = lambda state, batch, frozen=(): jitted(
      state, update_lib.split(batch, micro_rows), frozen)
  fresh = jax.jit(make_params, out_shardings=params_places)
  start = jax.jit(begin, donate_argnums=() if frozen_places else 0,
                  out_shardings=places)
  first = lambda params=None: start(fresh() if params is None else params)
  return first, like, update


def to_floats(metrics: Mapping[str, jax.Array]) -> dict[str, float]:
  """Waits for the step and fetches its metrics, under `train/`."""
  return {f'train/{k}': float(v) for k, v in jax.device_get(metrics).items()}
