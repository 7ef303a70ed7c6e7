"""Programs of the engine on the device: read, decode and copy rows of slots.

The cache of all slots stays in place. Each call gathers the rows it works on,
cut to the first `span` positions, and writes back only new entries: idle slots
and unused context cost nothing. In these names B counts the rows of a call,
not the slots.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agentrl import sharding
from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.models import transformer

_BLOCK = 64  # ids of a block; sampling sums over blocks, then inside one


@dataclasses.dataclass(frozen=True)
class EngineSpec:
  """Constants of an engine, compiled into its programs.

  Attributes:
    model: shape of the model.
    burst: most ids that one call of `decode` samples in a row.
    stop_id: ends a turn.
    pad_id: never sampled.
    shardings: sharding of each leaf of the cache. Pinned, as XLA would move the
      cache from call to call otherwise, and compile anew for each place.
  """

  model: model_config.ModelConfig
  burst: int
  stop_id: int
  pad_id: int
  shardings: cache_lib.KvCache | None = None


class SlotRows(NamedTuple):
  """Rows of one call, each a slot.

  Attributes:
    slot_B: int32, number of the slot; past the last slot for an unused row.
    seed_B: uint32, seed of the slot.
    start_B: int32, number of ids that the slot has cached.
    count_B: int32, number of ids to read or, when decoding, to sample at most.
  """

  slot_B: Any
  seed_B: Any
  start_B: Any
  count_B: Any


def cache_shardings(cache: cache_lib.KvCache, params: Any) -> cache_lib.KvCache:
  """Returns the shardings of a cache: heads over `tensor`, as the parameters.

  Args:
    cache: the cache of all slots, or its shapes.
    params: parameters, or their shapes, with shardings.
  """
  sharding_of_params = jax.tree.leaves(params)[0].sharding
  if not isinstance(sharding_of_params, jax.sharding.NamedSharding):
    return jax.tree.map(lambda x: sharding_of_params, cache)
  mesh = sharding_of_params.mesh
  ways = mesh.shape.get('tensor', 1)

  def of_leaf(x: Any) -> jax.sharding.NamedSharding:
    split = x.ndim == 4 and x.shape[1] % ways == 0  # ids have no heads
    spec = (None, 'tensor') if split else ()
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
  return jax.tree.map(of_leaf, cache)


def _put(cache: cache_lib.KvCache, part: cache_lib.KvCache, slot_B: jax.Array,
         positions_BT: jax.Array, spec: EngineSpec) -> cache_lib.KvCache:
  return jax.lax.with_sharding_constraint(
      cache_lib.put(cache, part, slot_B, positions_BT), spec.shardings)


def _hidden(spec: EngineSpec, params: Any, ids_BT: jax.Array,
            positions_BT: jax.Array, cache: cache_lib.KvCache
           ) -> tuple[jax.Array, cache_lib.KvCache]:
  mesh = getattr(jax.tree.leaves(spec.shardings)[0], 'mesh', None)
  with sharding.on(mesh):
    return transformer.hidden(spec.model, params, ids_BT, positions_BT,
                              cache=cache)


def _positions(start_B: jax.Array, used_BT: jax.Array) -> jax.Array:
  """Returns start, start + 1, ... in each row; -1 where it is unused."""
  at_BT = start_B[:, None] + jnp.arange(used_BT.shape[1])
  return jnp.where(used_BT, at_BT, -1)


def sample(logits_BV: jax.Array, key_B: jax.Array, *, temperature: jax.Array,
           pad_id: int) -> tuple[jax.Array, jax.Array]:
  """Draws one id for each row, by inverting the distribution function.

  One uniform number a row, and sums within one block of ids only: on CPU a
  tenth of the time of Gumbel noise for every logit.

  Args:
    logits_BV: float32 [nats].
    key_B: random key of each row.
    temperature: scalar that divides the logits; 0 takes the likeliest id.
    pad_id: never drawn.

  Returns:
    ids_B: int32.
    logp_B: float32, their log-probabilities [nats] at this temperature; 0 if it
      is 0. They are those of the whole distribution, pad included, as a trainer
      computes them: no model gives the pad more than a trace.
  """
  logp_BV = jax.nn.log_softmax(
      logits_BV / jnp.where(temperature > 0, temperature, 1.0))
  p_BV = jnp.exp(logp_BV).at[:, pad_id].set(0.0)
  u_B = jax.vmap(jax.random.uniform)(key_B)
  drawn_B = _invert(p_BV, u_B)
  # Sums are rounded, so an id of probability 0 could be drawn.
  possible_B = jnp.take_along_axis(p_BV, drawn_B[:, None], 1)[:, 0] > 0
  warm_B = possible_B & (temperature > 0)
  ids_B = jax.lax.cond(
      warm_B.all(), lambda: drawn_B,
      lambda: jnp.where(warm_B, drawn_B, p_BV.argmax(-1).astype(jnp.int32)))
  logp_B = jnp.take_along_axis(logp_BV, ids_B[:, None], 1)[:, 0]
  return ids_B, jnp.where(temperature > 0, logp_B, 0.0)


def _invert(p_BV: jax.Array, u_B: jax.Array) -> jax.Array:
  """Returns the ids at which the running sums of `p_BV` pass a share.

  Finds the block of ids first, then the id in it.

  Args:
    p_BV: float32, probabilities, not normalised.
    u_B: float32 in [0, 1), share of the sum over V.
  """
  B, V = p_BV.shape
  p_BNM = jnp.pad(p_BV, ((0, 0), (0, -V % _BLOCK))).reshape(B, -1, _BLOCK)
  mass_BN = p_BNM.sum(-1)
  below_BN = jnp.cumsum(mass_BN, -1)
  target_B = u_B * below_BN[:, -1]
  block_B = _count_up_to(below_BN, target_B)
  pick = lambda x: jnp.take_along_axis(x, block_B[:, None], 1)[:, 0]
  within_BM = jnp.take_along_axis(p_BNM, block_B[:, None, None], 1)[:, 0]
  rest_B = target_B - (pick(below_BN) - pick(mass_BN))
  at_B = _count_up_to(jnp.cumsum(within_BM, -1), rest_B)
  return jnp.minimum(block_B * _BLOCK + at_B, V - 1).astype(jnp.int32)


def _count_up_to(sums_BN: jax.Array, target_B: jax.Array) -> jax.Array:
  """Counts the running sums, all but the last, that are up to the target."""
  return (sums_BN[:, :-1] <= target_B[:, None]).sum(-1)


@functools.partial(jax.jit, static_argnames=('spec', 'span'),
                   donate_argnames='cache')
def prefill(params: Any, cache: cache_lib.KvCache, rows: SlotRows,
            ids_BT: jax.Array, *, spec: EngineSpec, span: int
           ) -> cache_lib.KvCache:
  """Appends the first `count_B` ids of each row to its slot.

  Args:
    params: parameters of the model.
    cache: the cache of all slots; donated.
    rows: rows of this call.
    ids_BT: int32; columns from `count_B` on are ignored.
    spec: constants of the engine.
    span: positions that are read; at least `start_B + count_B`.

  Returns:
    the cache.
  """
  used_BT = jnp.arange(ids_BT.shape[1]) < rows.count_B[:, None]
  positions_BT = _positions(rows.start_B, used_BT)
  _, part = _hidden(spec, params, ids_BT, positions_BT,
                    cache_lib.take(cache, rows.slot_B, span))
  return _put(cache, part, rows.slot_B, positions_BT, spec)


@functools.partial(jax.jit, static_argnames=('spec', 'span'),
                   donate_argnames='cache')
def decode(params: Any, cache: cache_lib.KvCache, rows: SlotRows,
           last_B: jax.Array, temperature: jax.Array, *, spec: EngineSpec,
           span: int) -> tuple[cache_lib.KvCache, jax.Array, jax.Array]:
  """Samples up to `spec.burst` ids in each row; ends early if all have ended.

  Args:
    params: parameters of the model.
    cache: the cache of all slots; donated.
    rows: rows of this call.
    last_B: int32, last id before the sampled ones, not cached yet.
    temperature: scalar that divides the logits; 0 is greedy.
    spec: constants of the engine.
    span: positions that are read; at least `start_B + burst`, or the length of
      a slot.

  Returns:
    the cache; ids_BT (int32, pad after the end of a row); their logp_BT [nats].
  """
  root = jax.random.key(0, impl='threefry2x32')
  key_B = jax.vmap(lambda seed: jax.random.fold_in(root, seed))(rows.seed_B)
  blank_BT = jnp.full((last_B.size, spec.burst), spec.pad_id, jnp.int32)

  def body(carry):
    t, part, last_B, left_B, ids_BT, logp_BT = carry
    active_B = left_B > 0
    at_B = rows.start_B + t
    hidden_BTD, part = _hidden(
        spec, params, last_B[:, None],
        jnp.where(active_B, at_B, -1)[:, None], part)
    logits_BV = transformer.logits(spec.model, params, hidden_BTD[:, 0])
    new_B, logp_B = sample(
        logits_BV, jax.vmap(jax.random.fold_in)(key_B, at_B + 1),
        temperature=temperature, pad_id=spec.pad_id)
    new_B = jnp.where(active_B, new_B, spec.pad_id)
    left_B = jnp.where(new_B == spec.stop_id, 0, left_B - 1)
    return (t + 1, part, new_B, left_B, ids_BT.at[:, t].set(new_B),
            logp_BT.at[:, t].set(jnp.where(active_B, logp_B, 0.0)))

  part = cache_lib.take(cache, rows.slot_B, span)
  if spec.model.scan_layers:  # once a burst, not once a token
    part = cache_lib.stacked(part)
  _, part, _, _, ids_BT, logp_BT = jax.lax.while_loop(
      lambda carry: (carry[0] < spec.burst) & (carry[3] > 0).any(), body,
      (0, part, last_B, rows.count_B, blank_BT,
       jnp.zeros(blank_BT.shape, jnp.float32)))
  positions_BT = _positions(rows.start_B, ids_BT != spec.pad_id)
  cache = _put(cache, part, rows.slot_B, positions_BT, spec)
  return cache, ids_BT, logp_BT


@functools.partial(jax.jit, static_argnames=('spec', 'span'),
                   donate_argnames='cache')
def copy(cache: cache_lib.KvCache, from_B: jax.Array, to_B: jax.Array, *,
         spec: EngineSpec, span: int) -> cache_lib.KvCache:
  """Copies the first `span` positions of slots `from_B` to slots `to_B`."""
  return jax.lax.with_sharding_constraint(
      cache_lib.copy(cache, from_B, to_B, span), spec.shardings)
