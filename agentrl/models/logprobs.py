"""Log-probabilities of given tokens, without more logits than needed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from agentrl.models import config as model_config
from agentrl.models import transformer

CHUNK = 4096  # tokens whose logits exist at one time


def token_logps(config: model_config.ModelConfig, params: Any,
                ids_BT: jax.Array, positions_BT: jax.Array,
                segments_BT: jax.Array, target_BT: jax.Array
               ) -> tuple[jax.Array, jax.Array]:
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
    token; both 0 off target.
  """
  hidden_BTD, _ = transformer.hidden(config, params, ids_BT, positions_BT,
                                     segments_BT)
  scored_BT = target_BT & (positions_BT > 0)
  # What predicts token t is the state at t - 1.
  before_MD = jnp.roll(hidden_BTD, 1, axis=1).reshape(-1, config.d_model)
  logp_M, entropy_M = _in_chunks(config, params, before_MD, ids_BT.reshape(-1))
  return (jnp.where(scored_BT, logp_M.reshape(ids_BT.shape), 0.0),
          jnp.where(scored_BT, entropy_M.reshape(ids_BT.shape), 0.0))


def _in_chunks(config: model_config.ModelConfig, params: Any,
               hidden_MD: jax.Array, ids_M: jax.Array
              ) -> tuple[jax.Array, jax.Array]:
  """Rematerialised chunks: the logits of a whole batch never exist at once."""
  @jax.checkpoint
  def one(chunk):
    return pick(transformer.logits(config, params, chunk[0]), chunk[1])

  M, D = hidden_MD.shape
  if M <= CHUNK:
    return one((hidden_MD, ids_M))
  pad = -M % CHUNK
  chunks = (jnp.pad(hidden_MD, ((0, pad), (0, 0))).reshape(-1, CHUNK, D),
            jnp.pad(ids_M, (0, pad)).reshape(-1, CHUNK))
  return tuple(x.reshape(-1)[:M] for x in jax.lax.map(one, chunks))


def pick(logits_V: jax.Array, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(log-probability of the ids, entropy), both [nats], of [..., V] logits."""
  logp_V = jax.nn.log_softmax(logits_V)
  entropy = -(jnp.exp(logp_V) * logp_V).sum(-1)
  return jnp.take_along_axis(logp_V, ids[..., None], -1)[..., 0], entropy
