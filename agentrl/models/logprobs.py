"""Log-probabilities of given tokens, without more logits than needed."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from agentrl.models import config as model_config
from agentrl.models import mesh as mesh_lib
from agentrl.models import moe
from agentrl.models import transformer

P = jax.sharding.PartitionSpec
# Tokens of each row with logits at one time; more in long rows, because
# each chunk reads the whole head.
CHUNK = 128
MOST_CHUNKS = 32


def token_logps(config: model_config.ModelConfig, params: Any,
                ids_BT: jax.Array, positions_BT: jax.Array,
                segments_BT: jax.Array, target_BT: jax.Array, *,
                temperature: float = 1.0
               ) -> tuple[jax.Array, jax.Array, moe.Routing | None]:
  """Computes the log-probability of each target token given all before it.

  Args:
    config: shape of the model.
    params: parameters of the model.
    ids_BT: token ids of packed rows.
    positions_BT: positions [tokens] in their sequences, from 0.
    segments_BT: number of the sequence in its row, from 1; 0 is empty.
    target_BT: bool, the tokens to score; the first token of a sequence has
      nothing before it and is never scored.
    temperature: logits are divided by it, as they were in sampling.

  Returns:
    (logp_BT [nats], entropy_BT [nats]) of the distribution that gave the
    token, both 0 off target; and the counts of the routers, for
    `moe.penalty` (None: no experts).
  """
  hidden_BTD, routing = transformer.hidden_and_routing(
      config, params, ids_BT, positions_BT, segments_BT)
  scored_BT = target_BT & (positions_BT > 0)
  # The state at t - 1 predicts token t.
  args = (jnp.roll(hidden_BTD, 1, axis=1), ids_BT, scored_BT,
          transformer.head(config, params))
  mesh = mesh_lib.current()
  score = functools.partial(_score, mesh=mesh, temperature=temperature)
  if mesh is not None:
    rows = P(mesh_lib.ROWS)
    score = jax.shard_map(
        score, out_specs=(rows, rows),
        in_specs=(rows, rows, rows, P('tensor', 'fsdp')))
  logp_BT, entropy_BT = score(*args)
  return (jnp.where(scored_BT, logp_BT, 0.0),
          jnp.where(scored_BT, entropy_BT, 0.0), routing)


def _score(before_BTD: jax.Array, ids_BT: jax.Array, scored_BT: jax.Array,
           head_VD: jax.Array, *, mesh: Any, temperature: float
          ) -> tuple[jax.Array, jax.Array]:
  """Scores the rows of one device with its share of the vocabulary.

  Each device gathers the head once, and sums the head's gradient over its
  chunks before it is sent: left to the partitioner, both are done in each
  chunk.
  """
  if mesh is not None:
    head_VD = jax.lax.all_gather(head_VD, 'fsdp', axis=1, tiled=True)
    head_VD = jax.lax.pcast(head_VD, ('data', 'expert'), to='varying')
    before_BTD = jax.lax.pcast(before_BTD, 'tensor', to='varying')
  rank_BT, order_BT = _targets_first(scored_BT)
  pick_BT = lambda x_BT, at_BT: jnp.take_along_axis(x_BT, at_BT, axis=1)
  picked = _in_chunks(
      jnp.take_along_axis(before_BTD, order_BT[..., None], axis=1),
      pick_BT(ids_BT, order_BT), pick_BT(scored_BT, order_BT), head_VD,
      axis='tensor' if mesh is not None else None, temperature=temperature)
  return tuple(pick_BT(x_BT, rank_BT) for x_BT in picked)


def _targets_first(scored_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the place of each token when targets come first, and its inverse;
  by sums, because a sort is slow to run and to compile."""
  before_BT = jnp.cumsum(scored_BT, axis=1)
  after_BT = before_BT[:, -1:] + jnp.cumsum(~scored_BT, axis=1)
  rank_BT = jnp.where(scored_BT, before_BT, after_BT) - 1
  t_BT = jnp.broadcast_to(jnp.arange(scored_BT.shape[1]), scored_BT.shape)
  row_B1 = jnp.arange(scored_BT.shape[0])[:, None]
  return rank_BT, jnp.zeros_like(rank_BT).at[row_B1, rank_BT].set(
      t_BT, unique_indices=True)


def _in_chunks(before_BTD: jax.Array, ids_BT: jax.Array, scored_BT: jax.Array,
               head_VD: jax.Array, *, axis: str | None, temperature: float
              ) -> tuple[jax.Array, jax.Array]:
  """Scores in rematerialised chunks: the logits of a whole batch never exist
  at once, and those of a chunk without targets never at all."""
  @jax.checkpoint
  def one(chunk):
    before, ids, scored = chunk
    zeros = jnp.where(scored, 0.0, 0.0)
    return jax.lax.cond(
        scored.any(),
        lambda: pick(transformer.project(before, head_VD) / temperature, ids,
                     axis),
        lambda: (zeros, zeros))

  B, T = ids_BT.shape
  size = max(CHUNK, T // MOST_CHUNKS)

  def cut(x):
    x = jnp.pad(x, ((0, 0), (0, -T % size)) + ((0, 0),) * (x.ndim - 2))
    return jnp.swapaxes(x.reshape(B, -1, size, *x.shape[2:]), 0, 1)
  chunks = jax.lax.map(one, tuple(map(cut, (before_BTD, ids_BT, scored_BT))))
  return tuple(jnp.swapaxes(x, 0, 1).reshape(B, -1)[:, :T] for x in chunks)


def pick(logits_V: jax.Array, ids: jax.Array, axis: str | None = None
        ) -> tuple[jax.Array, jax.Array]:
  """Picks the log-probabilities of some ids out of logits.

  Source: softmax over a vocabulary that is cut over devices, Megatron-LM,
  arXiv:1909.08053 section 3.

  Args:
    logits_V: float32 [..., V]; with an axis, this device's share of V.
    ids: ids [...] of the whole vocabulary.
    axis: axis of the mesh that the vocabulary lies on; None: it is whole.

  Returns:
    (log-probability [nats] of the ids, entropy [nats]), each [...].
  """
  over = lambda fn, x: x if axis is None else fn(x, axis)
  highest = over(jax.lax.pmax, jax.lax.stop_gradient(logits_V.max(-1)))
  logits_V -= highest[..., None]
  log_sum = jnp.log(over(jax.lax.psum, jnp.exp(logits_V).sum(-1)))
  logp_V = logits_V - log_sum[..., None]
  entropy = -over(jax.lax.psum, (jnp.exp(logp_V) * logp_V).sum(-1))
  share = logits_V.shape[-1]
  at = ids - (0 if axis is None else share * jax.lax.axis_index(axis))
  here = (at >= 0) & (at < share)
  logp = jnp.take_along_axis(logp_V, jnp.where(here, at, 0)[..., None], -1)
  return over(jax.lax.psum, jnp.where(here, logp[..., 0], 0.0)), entropy
