"""Mixture of experts: each token goes through a few of many gated MLPs.

Exact: no expert has a capacity, no token is dropped. Pairs of a token and one
of its experts are sorted by expert, and ragged matrix products run over them.

Letters of this file: E experts, C the experts of one token, M all tokens in one
list, R pairs of a token and an expert, N portions of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from agentrl.models import config as model_config
from agentrl.models import kernels as kernels_lib
from agentrl.models import mesh as mesh_lib

P = jax.sharding.PartitionSpec
Arrays = Sequence[jax.Array]
COLLECTION = 'routing'  # where each layer sows its counts
ACTIVATIONS = {'silu': nn.silu, 'gelu_tanh': nn.gelu}  # functions of a gate
_INSIDE = dict(mode='promise_in_bounds')
_PAIRS = 2**16  # most at a time: half a GB of states of 4,096 features


class Routing(NamedTuple):
  """Counts of the routers over the real tokens of a batch.

  Attributes:
    count_LE: number of tokens that went to each expert.
    prob_LE: sum over the tokens of each expert's probability.
    tokens: number of real tokens.
  """

  count_LE: jax.Array
  prob_LE: jax.Array
  tokens: jax.Array


def routing(sown: Any, tokens: jax.Array) -> Routing:
  """Collects the counts that the layers have sown, scanned or not.

  Source: Switch Transformer, arXiv:2101.03961 eq. 5-6.

  Args:
    sown: collection `COLLECTION` of the decoder.
    tokens: number of real tokens.
  """
  count, prob = (jax.tree.leaves(sown)[i::2] for i in range(2))
  count_LE, prob_LE = (jnp.concatenate([jnp.atleast_2d(x) for x in xs])
                       for xs in (count, prob))
  return Routing(count_LE, prob_LE, tokens)


def balance_loss(routing_: Routing) -> jax.Array:
  """Computes the loss that is least where all experts are used alike.

  Source: Switch Transformer, arXiv:2101.03961 eq. 4-6, with the means over the
  tokens of all layers together, as `transformers` has it.

  Args:
    routing_: counts over a batch.

  Returns:
    The loss; at its least the number of experts of a token.
  """
  layers, experts = routing_.count_LE.shape
  total = jnp.maximum(routing_.tokens, 1) * layers
  share_E = routing_.count_LE.sum(0) / total
  return experts * (share_E * routing_.prob_LE.sum(0) / total).sum()


def penalty(config: model_config.ModelConfig, routing_: Routing | None,
            weight: jax.Array) -> tuple[jax.Array | float, dict[str, Any]]:
  """Computes the part of the loss that keeps experts in equal use.

  A batch with gradients added up over parts is balanced part by part: the mean
  over the parts counts, because the experts' shares of the whole batch are
  only known when all parts are done. The more tokens a part has, the freer
  each text is to choose (arXiv:2501.11873).

  Source: Switch Transformer, arXiv:2101.03961 eq. 4.

  Args:
    config: shape of the model, with `router_aux_coef`.
    routing_: counts over this part of the batch; None: no experts.
    weight: weight of this part in the mean; all parts together have 1.

  Returns:
    The loss, and metrics: `router_balance`, and the share of a layer's tokens
    that its busiest expert got.
  """
  if routing_ is None:
    return 0.0, {}
  balance = weight * balance_loss(routing_)
  most = routing_.count_LE.max() / jnp.maximum(routing_.tokens, 1)
  return config.router_aux_coef * balance, {
      'router_balance': balance, 'expert_share_max': most}


class _Kernel(nn.Module):
  """A matrix, or a stack of them."""

  config: model_config.ModelConfig
  shape: tuple[int, ...]
  fan_in: int
  depth: float = 1.0

  @nn.compact
  def __call__(self) -> jax.Array:
    init = nn.initializers.normal((self.fan_in * self.depth)**-0.5)
    return self.param('kernel', init, self.shape, self.config.param_dtype)


class Moe(nn.Module):
  """A layer of experts: softmax over all in float32, the best few weighted.

  Source: Qwen3, arXiv:2505.09388; the router: arXiv:1701.06538.
  """

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    """Sums the weighted outputs of each token's experts.

    Args:
      x_BTD: states.
      real_BT: bool, tokens that are no pads.

    Returns:
      out_BTD, 0 at pads.
    """
    c = self.config
    D, E, F = c.d_model, c.num_experts, c.d_ff
    router_DE = _Kernel(c, (D, E), D, name='router')()
    up_ED2F = _Kernel(c, (E, D, 2, F), D, name='up')()
    down_EFD = _Kernel(c, (E, F, D), F, 2 * c.num_layers, name='down')()
    prob_BTE = jax.nn.softmax(jnp.einsum(
        'BTD,DE->BTE', x_BTD.astype(jnp.float32),
        router_DE.astype(jnp.float32)))
    out_BTD, expert_BTC = _on_mesh(
        c, (x_BTD, prob_BTE, real_BT),
        (up_ED2F.astype(c.dtype), down_EFD.astype(c.dtype)))
    self.sow(COLLECTION, 'routers', (
        jax.nn.one_hot(expert_BTC, E).sum((0, 1, 2)),  # pads have expert E
        jnp.where(real_BT[..., None], prob_BTE, 0).sum((0, 1))))
    return out_BTD


def _on_mesh(config: model_config.ModelConfig, tokens: Arrays, kernels: Arrays
            ) -> tuple[jax.Array, jax.Array]:
  """Runs the experts on the mesh of the context.

  Tokens go to the experts, which stay where they are. All tokens of a group
  of devices along `expert` go to each of them, and the sums come back by a
  reduce-scatter. Sending each token only to the devices that need it would be
  little less: with 8 experts a token 5 of 8 devices do. And it needs
  collectives of ragged size, or experts of bounded capacity, that drop tokens.

  Args:
    config: shape of the model.
    tokens: x_BTD, prob_BTE, real_BT.
    kernels: up_ED2F, down_EFD.

  Returns:
    out_BTD, and expert_BTC as `_choose` gives it.
  """
  mesh = mesh_lib.current()
  if mesh is None:
    chosen = _choose(config, *tokens)
    return _run(config, chosen, kernels).astype(config.dtype), chosen[-1]
  # Rows of a sampler may be too few to divide: all devices have all of them.
  where = mesh_lib.spread(mesh, *tokens[0].shape[:2])
  cut = {'tensor': 1} if where[1] else {}
  if where[0]:
    cut['expert'] = 0
  return jax.shard_map(
      functools.partial(_on_device, config, ways=mesh.shape['expert'],
                        cut=cut),
      in_specs=(where, (P('expert', None, None, 'tensor'),
                        P('expert', 'tensor', None))),
      out_specs=(where, where),
      # Pallas kernels do not say over which axes their results vary.
      check_vma=config.experts == 'xla')(tokens, kernels)


def _on_device(config: model_config.ModelConfig, tokens: Arrays,
               kernels: Arrays, *, ways: int, cut: Mapping[str, int]
              ) -> tuple[jax.Array, jax.Array]:
  """Runs one device's part of `_on_mesh`. `cut` maps the axes of the mesh along
  which its neighbours have other tokens to the axis of x_BTD."""
  all_ = chosen = _choose(config, *tokens)
  # Gradients are summed over devices at the `pcast` to varying: here, and not
  # in a portion of `_run`, which some devices skip.
  own = functools.partial(jax.lax.pcast, to='varying')
  for name in ('tensor', 'expert'):
    one = (functools.partial(jax.lax.all_gather, axis=cut[name], tiled=True)
           if name in cut else own)
    all_ = [one(x, name) for x in all_]
  if 'expert' in cut:
    kernels = [own(x, ('data', 'fsdp')) for x in kernels]
  first = jax.lax.axis_index('expert') * len(kernels[0])
  out_BTD = _run(config, all_, kernels, ways=ways, first=first).astype(
      config.dtype)
  # Over `tensor` lie the features within each expert.
  for name in ('expert', 'tensor'):
    out_BTD = (jax.lax.psum_scatter(out_BTD, name, tiled=True,
                                    scatter_dimension=cut[name])
               if name in cut else jax.lax.psum(out_BTD, name))
  return out_BTD, chosen[-1]


def _choose(config: model_config.ModelConfig, x_BTD: jax.Array,
            prob_BTE: jax.Array, real_BT: jax.Array) -> Arrays:
  """Returns x_BTD, weight_BTC, expert_BTC (`num_experts` at pads)."""
  weight_BTC, expert_BTC = jax.lax.top_k(prob_BTE, config.experts_per_token)
  if config.norm_topk:
    weight_BTC /= weight_BTC.sum(-1, keepdims=True)
  return x_BTD, weight_BTC, jnp.where(real_BT[..., None], expert_BTC,
                                      config.num_experts)


def portions(pairs: int, ways: int) -> int:
  """Returns the number of portions in which a device does its pairs: each as
  large as its equal share, or less where that is much memory.

  Args:
    pairs: pairs of a token and an expert, on all devices along `expert`.
    ways: devices along `expert`.
  """
  return max(ways, -(-pairs // _PAIRS))


def _run(config: model_config.ModelConfig, chosen: Arrays, kernels: Arrays, *,
         ways: int = 1, first: jax.Array | int = 0) -> jax.Array:
  """Sums the outputs of this device's experts, in float32.

  Args:
    config: shape of the model.
    chosen: see `_choose`; experts that are not here add nothing.
    kernels: up_ED2F and down_EFD of the experts that are here.
    ways: devices that the experts lie on. The pairs are done in `portions`,
      of which empty ones are skipped: all tokens could choose the experts of
      one device, but memory and time should be those of its share.
    first: number of the first expert that is here.

  Returns:
    out_BTD.
  """
  x_BTD, weight_BTC, expert_BTC = chosen
  E, D = kernels[0].shape[:2]
  # The last row, of zeros, is for pairs with an expert elsewhere: so they
  # need no mask. They come last, and go with the last expert.
  x_MD = jnp.pad(x_BTD.reshape(-1, D), ((0, 1), (0, 0)))
  here_R = expert_BTC.reshape(-1) - first
  here_R = jnp.where((here_R >= 0) & (here_R < E), here_R, E)
  order_R = jnp.argsort(here_R)
  token_R = jnp.where(here_R[order_R] < E, order_R // expert_BTC.shape[-1],
                      len(x_MD) - 1)
  count = portions(here_R.size, ways)
  size = -(-here_R.size // count)
  cut = lambda x_R, empty: jnp.pad(
      x_R, (0, count * size - x_R.size), constant_values=empty
  ).reshape(count, size)
  end_E = (here_R[:, None] <= jnp.arange(E)).sum(0)
  start_N = jnp.arange(count) * size
  pairs = _Pairs(
      start_N < end_E[-1], cut(token_R, len(x_MD) - 1),
      jnp.diff(jnp.clip(end_E.at[-1].set(count * size) - start_N[:, None],
                        0, size), prepend=0))
  weight_NR = cut(weight_BTC.reshape(-1)[order_R], 0)
  out_MD = _sum(config, x_MD, weight_NR, tuple(kernels), pairs)
  return out_MD[:-1].reshape(x_BTD.shape)


class _Pairs(NamedTuple):
  """Pairs of a token and an expert in N portions.

  Attributes:
    any_N: bool, the portion holds at least one pair.
    token_NR: row of each pair's token in x_MD.
    count_NE: pairs of each expert.
  """

  any_N: jax.Array
  token_NR: jax.Array
  count_NE: jax.Array


def _experts(config: model_config.ModelConfig, count_E: jax.Array,
             x_RD: jax.Array, weight_R: jax.Array, kernels: Arrays
            ) -> jax.Array:
  """Computes the weighted outputs of experts in float32; rows lie by expert."""
  product = kernels_lib.RAGGED[config.experts]
  up_ED2F, down_EFD = kernels
  up_R2F = product(x_RD, up_ED2F.reshape(*up_ED2F.shape[:2], -1), count_E,
                   preferred_element_type=x_RD.dtype)
  gate_RF, value_RF = jnp.split(up_R2F, 2, axis=-1)
  return weight_R[:, None] * product(
      ACTIVATIONS[config.activation](gate_RF) * value_RF, down_EFD, count_E,
      preferred_element_type=jnp.float32)


def _sum(config: model_config.ModelConfig, x_MD: jax.Array,
         weight_NR: jax.Array, kernels: Arrays, pairs: _Pairs) -> jax.Array:
  """Sums out_MD over all portions; one alone keeps its activations for the
  gradient, of several each is computed again."""
  if len(weight_NR) > 1:
    return _sum_portions(config, x_MD, weight_NR, kernels, pairs)
  token_R = pairs.token_NR[0]
  y_RD = _experts(config, pairs.count_NE[0], x_MD.at[token_R].get(**_INSIDE),
                  weight_NR[0], kernels)
  return jnp.zeros_like(x_MD, jnp.float32).at[token_R].add(y_RD, **_INSIDE)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum_portions(config, x_MD, weight_NR, kernels, pairs):
  """Computes `_sum`. Its gradient is by hand, since that of `lax.cond` makes
  and adds zeros as large as all kernels for each portion that is skipped."""
  def add(out_MD, portion):
    weight_R, (_, token_R, count_E) = portion
    return out_MD.at[token_R].add(
        _experts(config, count_E, x_MD.at[token_R].get(**_INSIDE), weight_R,
                 kernels), **_INSIDE)

  def step(out_MD, portion):
    return jax.lax.cond(portion[1].any_N, add, lambda out_MD, _: out_MD,
                        out_MD, portion), None
  return jax.lax.scan(step, jnp.zeros_like(x_MD, jnp.float32),
                      (weight_NR, pairs))[0]


def _sum_fwd(config, *args):
  return _sum_portions(config, *args), args


def _sum_bwd(config, args, grad_MD):
  x_MD, weight_NR, kernels, pairs = args

  def add(grads, portion):
    weight_R, (_, token_R, count_E) = portion
    pull = jax.vjp(
        functools.partial(_experts, config, count_E),
        x_MD.at[token_R].get(**_INSIDE), weight_R, kernels)[1]
    x_RD, weight_R, more = pull(grad_MD.at[token_R].get(**_INSIDE))
    total_MD, total = grads
    return (total_MD.at[token_R].add(x_RD.astype(jnp.float32), **_INSIDE),
            jax.tree.map(jnp.add, total, more)), weight_R

  def step(grads, portion):
    return jax.lax.cond(
        portion[1].any_N, add,
        lambda grads, portion: (grads, jnp.zeros_like(portion[0])),
        grads, portion)
  (total_MD, total), grad_NR = jax.lax.scan(
      step, (jnp.zeros_like(x_MD, jnp.float32),
             jax.tree.map(jnp.zeros_like, kernels)), (weight_NR, pairs))
  return total_MD.astype(x_MD.dtype), grad_NR, total, None


_sum_portions.defvjp(_sum_fwd, _sum_bwd)
