"""What the loops of SFT and RL share: a state on a mesh, and its update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import functools
from typing import Any

import jax
import optax

from agentrl import sharding
from agentrl.train import update as update_lib

Update = Callable[[update_lib.TrainState, Any],
                  tuple[update_lib.TrainState, update_lib.Metrics]]


def make(make_params: Callable[[], Any], loss_fn: update_lib.LossFn,
         tx: optax.GradientTransformation, *, mesh: jax.sharding.Mesh,
         micro_rows: int) -> tuple[Callable[..., Any], Any, Update]:
  """Everything about a training run that depends on its mesh.

  Args:
    make_params: makes fresh parameters; traced, so that arrays are born
      where they live.
    loss_fn: see `train.update`.
    tx: the optimiser.
    mesh: where all lies.
    micro_rows: rows of a part of the batch, see `train.update`.

  Returns:
    (a function that makes the first state, or takes parameters into it; the
    state's shapes and shardings; the update of rows [B, T], jitted, which
    consumes its state).
  """
  fresh = lambda: update_lib.init(make_params(), tx)
  shapes = jax.eval_shape(fresh)
  places = sharding.shardings(shapes, mesh)
  like = jax.tree.map(
      lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
      shapes, places)
  jitted = jax.jit(
      update_lib.make_update(loss_fn, tx), donate_argnums=0,
      in_shardings=(places, sharding.batch(mesh, micro_rows)),
      out_shardings=(places, sharding.replicated(mesh)))
  update = lambda state, batch: jitted(
      state, update_lib.split(batch, micro_rows))
  fresh = jax.jit(fresh, out_shardings=places)
  given = jax.jit(functools.partial(update_lib.init, tx=tx), donate_argnums=0,
                  out_shardings=places)
  first = lambda params=None: fresh() if params is None else given(params)
  return first, like, update


def to_floats(metrics: Mapping[str, jax.Array]) -> dict[str, float]:
  """Waits for the step and fetches its metrics, under `train/`."""
  return {f'train/{k}': float(v) for k, v in jax.device_get(metrics).items()}
