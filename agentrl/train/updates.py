"""The one parameter update of SFT and RL, pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

Metrics = dict[str, jax.Array]
# (params, part of the batch) -> (its part of the loss, parts of metrics).
LossFn = Callable[[Any, Mapping[str, jax.Array]], tuple[jax.Array, Metrics]]


@flax.struct.dataclass
class TrainState:
  """Everything that a step changes, so everything a checkpoint needs."""

  step: jax.Array
  params: Any
  opt_state: Any


def init(params: Any, tx: optax.GradientTransformation) -> TrainState:
  """Returns the state before the first step."""
  return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params))


def split(batch: Mapping[str, Any], micro_rows: int) -> dict[str, Any]:
  """Splits rows [B, ..] into parts [M, micro_rows, ..], for `make_update`.

  Raises:
    ValueError: `micro_rows` does not divide the rows.
  """
  rows = batch['target_BT'].shape[0]
  if rows % micro_rows:
    raise ValueError(f'A batch of {rows} rows does not divide into parts of '
                     f'{micro_rows}: set config.micro_rows to a divisor.')
  return {name: x.reshape(-1, micro_rows, *x.shape[1:])
          for name, x in batch.items()}


def make_update(loss_fn: LossFn, tx: optax.GradientTransformation,
                combine: Callable[[Any, Any], Any] = lambda params, _: params
               ) -> Callable[..., tuple[TrainState, Metrics]]:
  """Returns the pure `update(state, batch, frozen=()) -> (state, metrics)`.

  The batch comes in parts (see `split`) whose gradients are summed, so memory
  is that of one part; the rows of each part are sharded over the devices. Parts
  after the last target are skipped: a batch may be padded to a fixed number of
  rows at no cost, and one compiled update serves batches of every size.
  Gradients are summed in float32, for parameters of any dtype.

  Args:
    loss_fn: returns the loss and metrics of a part, which are summed over the
      parts (metrics named `*_max` are maximised, from 0); `batch['total']` is
      the number of target tokens of the whole batch.
    tx: the optimiser.
    combine: makes the params of `loss_fn` from the trained ones and the
      `frozen` ones, which have neither gradient nor optimiser state; see
      `train.tuning`.
  """
  def update(state: TrainState, batch: Mapping[str, jax.Array],
             frozen: Any = ()) -> tuple[TrainState, Metrics]:
    target_MBT = batch['target_BT']
    filled_M = target_MBT.any((1, 2))
    count = jnp.max(jnp.where(filled_M, jnp.arange(filled_M.size) + 1, 0))
    total = jnp.maximum(target_MBT.sum(), 1)

    def part(i):
      return {**jax.tree.map(lambda x: x[i], dict(batch)), 'total': total}

    def grad_fn(rows):
      loss_and_metrics, grads = jax.value_and_grad(
          lambda params: loss_fn(combine(params, frozen), rows),
          has_aux=True)(state.params)
      return loss_and_metrics, optax.tree.cast(grads, jnp.float32)

    if filled_M.size == 1:  # spares the memory of a sum of gradients
      (loss, metrics), grads = grad_fn(part(0))
    else:
      shape = jax.eval_shape(grad_fn, part(0))
      zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)
      (loss, metrics), grads = jax.lax.fori_loop(
          0, count, lambda i, carry: _merge(carry, grad_fn(part(i))), zeros)
    deltas, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, deltas)
    metrics = {**metrics, 'loss': loss, 'grad_norm': optax.tree.norm(grads),
               'target_tokens': total}
    return TrainState(state.step + 1, params, opt_state), metrics

  return update


def _merge(one: Any, other: Any) -> Any:
  """Adds up two results of a grad_fn."""
  def add(path, x, y):
    name = str(getattr(path[-1], 'key', '')) if path else ''
    return jnp.maximum(x, y) if name.endswith('_max') else x + y
  return jax.tree_util.tree_map_with_path(add, one, other)
