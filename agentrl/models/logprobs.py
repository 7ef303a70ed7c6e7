"""Log-probabilities of given tokens, without more logits than needed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from agentrl.models import config as model_config
from agentrl.models import moe
from agentrl.models import transformer

CHUNK = 128  # tokens of each row whose logits exist at one time


def token_logps(config: model_config.ModelConfig, params: Any,
                ids_BT: jax.Array, positions_BT: jax.Array,
                segments_BT: jax.Array, target_BT: jax.Array
               ) -> tuple[jax.Array, jax.Array, moe.Routing | None]:
  """Log-probability of each target token given all before it.

  Args:
    config: of the model.
    params: of the model.
    ids_BT: token ids of packed rows.
    positions_BT: their places in their sequences, from 0.
    segments_BT: which sequence of the row; 0 is empty.
    target_BT: bool, the tokens to score; the first token of a sequence has
      nothing before it and is never scored.

  Returns:
    (logp_BT [nats], entropy_BT [nats]), of the distribution that gave the
    token, both 0 off target; and what routers did, for `moe.penalty`.
  """
  hidden_BTD, routing = transformer.hidden_and_routing(
      config, params, ids_BT, positions_BT, segments_BT)
  scored_BT = target_BT & (positions_BT > 0)
  # Targets first, in each row by itself: rows may lie on several devices.
  order_BT = jnp.argsort(~scored_BT, axis=1)
  # What predicts token t is the state at t - 1.
  before_BTD = jnp.take_along_axis(jnp.roll(hidden_BTD, 1, axis=1),
                                   order_BT[..., None], axis=1)
  picked = _in_chunks(config, params, before_BTD,
                      jnp.take_along_axis(ids_BT, order_BT, axis=1),
                      jnp.take_along_axis(scored_BT, order_BT, axis=1))
  back_BT = jnp.argsort(order_BT, axis=1)
  logp_BT, entropy_BT = (jnp.take_along_axis(x_BT, back_BT, axis=1)
                         for x_BT in picked)
  return (jnp.where(scored_BT, logp_BT, 0.0),
          jnp.where(scored_BT, entropy_BT, 0.0), routing)


def _in_chunks(config: model_config.ModelConfig, params: Any,
               before_BTD: jax.Array, ids_BT: jax.Array, scored_BT: jax.Array
              ) -> tuple[jax.Array, jax.Array]:
  """Rematerialised chunks: the logits of a whole batch never exist at once,
  and those of a chunk without targets never at all."""
  @jax.checkpoint
  def one(chunk):
    before, ids, scored = chunk
    zeros = jnp.zeros(ids.shape, jnp.float32)
    return jax.lax.cond(
        scored.any(),
        lambda: pick(transformer.logits(config, params, before), ids),
        lambda: (zeros, zeros))

  B, T = ids_BT.shape

  def cut(x):
    x = jnp.pad(x, ((0, 0), (0, -T % CHUNK)) + ((0, 0),) * (x.ndim - 2))
    return jnp.swapaxes(x.reshape(B, -1, CHUNK, *x.shape[2:]), 0, 1)
  chunks = jax.lax.map(one, tuple(map(cut, (before_BTD, ids_BT, scored_BT))))
  return tuple(jnp.swapaxes(x, 0, 1).reshape(B, -1)[:, :T] for x in chunks)


def pick(logits_V: jax.Array, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(log-probability of the ids, entropy), both [nats], of [..., V] logits."""
  logp_V = jax.nn.log_softmax(logits_V)
  entropy = -(jnp.exp(logp_V) * logp_V).sum(-1)
  return jnp.take_along_axis(logp_V, ids[..., None], -1)[..., 0], entropy
