"""The decoder, in flax.linen, used through pure functions.

Without a cache it attends causally within segments (packed rows); with one it
writes the new keys and values at their positions and attends to all before.

Layers differ by their weights and their `attention.LayerKind`: a local one sees
a window of tokens. That is a mask; the cache keeps all tokens for every layer.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
from jax import ad_checkpoint
import jax.numpy as jnp

from agentrl.models import attention
from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.models import induction
from agentrl.models import kernels
from agentrl.models import lora
from agentrl.models import mesh
from agentrl.models import moe

Params = Any
_REMAT = {  # policy: the parts of a layer that are kept beside its input
    'full': jax.checkpoint_policies.nothing_saveable,
    'attention': jax.checkpoint_policies.save_only_these_names(
        kernels.ATTENDED),
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable}


class RMSNorm(nn.Module):
  """The norm x / rms(x) * scale, in float32.

  Source: RMSNorm, arXiv:1910.07467 eq. 4.
  """

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    centre = float(self.config.zero_centered_norm)
    scale_D = self.param('scale', nn.initializers.constant(1 - centre),
                         (x_BTD.shape[-1],), self.config.param_dtype)
    x = x_BTD.astype(jnp.float32)
    x *= jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + self.config.norm_eps)
    return (x * (scale_D.astype(jnp.float32) + centre)).astype(x_BTD.dtype)


def _dense(config: model_config.ModelConfig, features: int | tuple[int, ...],
           name: str | None, *, depth: float = 1.0, bias: bool = False
           ) -> lora.Dense:
  """Makes a matrix product; `depth` shrinks those that add to the residual."""
  init = nn.initializers.variance_scaling(1.0 / depth, 'fan_in', 'normal')
  return lora.Dense(
      features, use_bias=bias, name=name, dtype=config.dtype,
      param_dtype=config.param_dtype, kernel_init=init)


class Attention(nn.Module):
  """Causal self-attention, within segments or over a cache."""

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array, positions_BT: jax.Array,
               seen: jax.Array, kind: attention.LayerKind,
               cache: tuple[jax.Array, jax.Array] | None
              ) -> tuple[jax.Array, tuple[jax.Array, jax.Array] | None]:
    """Attends, and writes the cache.

    Args:
      x_BTD: normed states.
      positions_BT: positions [tokens] in their sequences.
      seen: mask_BTS, or segments_BT for a kernel that needs no mask.
      kind: see `attention.LayerKind`.
      cache: keys and values of this layer, or stacked; None: no cache.

    Returns:
      out_BTD, and the new cache.
    """
    c = self.config
    heads = (c.num_heads + 2 * c.num_kv_heads, c.head_dim)
    qkv_BTMH = _dense(c, heads, 'qkv', bias=c.qkv_bias)(x_BTD)
    q, k, v = jnp.split(
        qkv_BTMH, (c.num_heads, c.num_heads + c.num_kv_heads), axis=2)
    if c.qk_norm:  # each head by itself, all heads with one scale
      q, k = RMSNorm(c, name='q_norm')(q), RMSNorm(c, name='k_norm')(k)
    q = attention.rope(q, positions_BT, kind.rate)
    k = attention.rope(k, positions_BT, kind.rate)
    # Scores are divided by the root of head_dim below.
    q *= (c.head_dim / (c.query_pre_attn_scalar or c.head_dim)) ** 0.5
    within = lambda at_BS: attention.within(
        seen, kind.window, positions_BT, at_BS)
    if cache is not None:
      cache = cache_lib.write(*cache, k, v, positions_BT, layer=kind.layer)
      out_BTNH = attention.attend(
          q, *(x[kind.layer] for x in cache),
          within(jnp.arange(seen.shape[-1])[None]))
    elif c.attention == 'xla':
      out_BTNH = ad_checkpoint.checkpoint_name(attention.attend_causal(
          q, jnp.transpose(k, (0, 2, 3, 1)), jnp.swapaxes(v, 1, 2),
          within(positions_BT)), kernels.ATTENDED)
    else:
      out_BTNH = kernels.ATTEND[c.attention](q, k, v, seen)
    flat = out_BTNH.reshape(*x_BTD.shape[:2], -1)
    return _dense(c, c.d_model, 'out', depth=2 * c.num_layers)(flat), cache


class Mlp(nn.Module):
  """A gated MLP, SwiGLU or GeGLU. Source: arXiv:2002.05202 eq. 6."""

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    c = self.config
    gate_BT2F = _dense(c, (2, c.d_ff), 'up')(x_BTD)
    act = moe.ACTIVATIONS[c.activation]
    hidden_BTF = act(gate_BT2F[..., 0, :]) * gate_BT2F[..., 1, :]
    return _dense(c, c.d_model, 'down', depth=2 * c.num_layers)(hidden_BTF)


class Layer(nn.Module):
  """One decoder layer, with norms before its parts or around them."""

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, carry: tuple[jax.Array, Any], positions_BT: jax.Array,
               seen: jax.Array, kind: attention.LayerKind
               ) -> tuple[tuple[jax.Array, Any], None]:
    """Runs the layer; `carry` is x_BTD and the cache, its own or stacked."""
    c = self.config
    x_BTD, cache = carry
    norm = lambda name, x_BTD: RMSNorm(c, name=name)(x_BTD)
    after = norm if c.post_norm else lambda name, x_BTD: x_BTD
    read_BTD, cache = Attention(c, name='attention')(
        mesh.by_rows(norm('attention_norm', x_BTD)), positions_BT, seen, kind,
        cache)
    x_BTD += after('attention_post_norm', mesh.by_tokens(read_BTD))
    normed_BTD = norm('mlp_norm', x_BTD)
    new_BTD = (moe.Moe(c, name='moe')(normed_BTD, positions_BT >= 0)
               if c.num_experts
               else Mlp(c, name='mlp')(mesh.by_rows(normed_BTD)))
    x_BTD += after('mlp_post_norm', mesh.by_tokens(new_BTD))
    return (x_BTD, cache), None


class Transformer(nn.Module):
  """Embedding, layers, final norm; `logits` apart, made where needed."""

  config: model_config.ModelConfig

  def setup(self):
    c = self.config
    table = nn.initializers.normal(c.d_model**-0.5)
    shape = (c.vocab_size, c.d_model)
    self.embed = self.param('embed', table, shape, c.param_dtype)
    if not c.tie_embeddings:
      self.head = self.param('head', table, shape, c.param_dtype)
    if c.smear:
      self.smear = _dense(c, c.d_model, None)
    layer = Layer
    if c.remat != 'none':
      # Else XLA merges the second computation with the first; in a scan it
      # cannot.
      layer = nn.remat(Layer, policy=_REMAT[c.remat],
                       prevent_cse=not c.scan_layers)
    if c.scan_layers:
      self.layers = nn.scan(
          layer, variable_axes={'params': 0, moe.COLLECTION: 0},
          split_rngs={'params': True}, length=c.num_layers,
          in_axes=(nn.broadcast, nn.broadcast, 0))(c)
    else:
      self.layers = [layer(c) for _ in range(c.num_layers)]
    self.final_norm = RMSNorm(c)

  def __call__(self, ids_BT: jax.Array, positions_BT: jax.Array,
               segments_BT: jax.Array | None = None,
               cache: cache_lib.KvCache | None = None
              ) -> tuple[jax.Array, cache_lib.KvCache | None]:
    """Computes hidden states.

    Args:
      ids_BT: token ids.
      positions_BT: position [tokens] in its sequence. With a cache, a negative
        one marks a pad.
      segments_BT: number of the sequence in a packed row, from 1; 0 is empty.
        None: each row is one sequence.
      cache: keys and values of earlier tokens; None: there is no cache.

    Returns:
      hidden_BTD after the final norm, and the new cache (None without one).
    """
    if cache is not None:
      cache = cache._replace(ids_BS=cache_lib.write_ids(
          cache.ids_BS, ids_BT, positions_BT))
    if segments_BT is not None:  # pads, marked as with a cache
      positions_BT = jnp.where(segments_BT > 0, positions_BT, -1)
    x_BTD = mesh.by_tokens(self._embed(ids_BT, positions_BT, cache))
    if cache is not None:
      seen = jnp.arange(cache.length) <= positions_BT[..., None]
    elif self.config.attention == 'xla':
      seen = _segment_mask(ids_BT, segments_BT)
    else:
      seen = jnp.ones_like(ids_BT) if segments_BT is None else segments_BT
    x_BTD, cache = self._run(x_BTD, positions_BT, seen, cache)
    return self.final_norm(x_BTD), cache

  def _embed(self, ids_BT: jax.Array, positions_BT: jax.Array,
             cache: cache_lib.KvCache | None) -> jax.Array:
    x_BTD = self._look_up(ids_BT)
    carried_BTD = 0.0
    for back in range(self.config.smear, 0, -1):  # S (e1 + S (e2 + ...))
      if cache is None:
        before_BT = jnp.roll(ids_BT, back, axis=1)
      else:
        before_BT = jnp.take_along_axis(
            cache.ids_BS, jnp.maximum(positions_BT - back, 0), axis=1)
      none_BT1 = positions_BT[..., None] < back
      carried_BTD = self.smear(carried_BTD + jnp.where(
          none_BT1, 0, self._look_up(before_BT)))
    return x_BTD + carried_BTD

  def _look_up(self, ids_BT: jax.Array) -> jax.Array:
    c = self.config
    x_BTD = mesh.by_words(self.embed)[ids_BT].astype(c.dtype)
    # The factor is rounded to the type, as it was when the weights were made.
    scale = c.d_model**0.5 if c.scale_embeddings else 1.0
    return x_BTD * jnp.asarray(scale, c.dtype)

  def _run(self, x_BTD, positions_BT, seen, cache):
    layers = attention.layer_kinds(self.config)
    if self.config.scan_layers:
      kind = jax.tree.map(lambda *each: jnp.stack(each), *layers)
      kind = kind._replace(layer=(jnp.arange(len(layers)),))
      kept = None if cache is None else cache_lib.stacked(cache)[:2]
      (x_BTD, kept), _ = self.layers((x_BTD, kept), positions_BT, seen, kind)
    else:
      new = []
      for i, (layer, kind) in enumerate(zip(self.layers, layers)):
        old = None if cache is None else (cache.k[i], cache.v[i])
        (x_BTD, old), _ = layer((x_BTD, old), positions_BT, seen, kind)
        new.append(old)
      kept = None if cache is None else zip(*new)
    if cache is not None:
      k, v = kept
      cache = cache._replace(k=k, v=v)
    return x_BTD, cache

  def logits(self, hidden: jax.Array) -> jax.Array:
    """Computes float32 logits [..., V] of hidden states [..., D]."""
    return project(hidden,
                   self.embed if self.config.tie_embeddings else self.head)


def project(hidden: jax.Array, head_VD: jax.Array) -> jax.Array:
  """Computes logits.

  Source: tied embeddings, arXiv:1608.05859.

  Args:
    hidden: hidden states [..., D] after the final norm.
    head_VD: matrix of the output head.

  Returns:
    float32 logits [..., V].
  """
  return jnp.einsum('...D,VD->...V', hidden, head_VD.astype(hidden.dtype),
                    preferred_element_type=jnp.float32)


def head(config: model_config.ModelConfig, params: Params) -> jax.Array:
  """Returns the matrix of the output head.

  Source: tied embeddings, arXiv:1608.05859.

  Args:
    config: shape of the model.
    params: parameters of the model.

  Returns:
    head_VD; the embedding if they are tied.
  """
  return params['embed' if config.tie_embeddings else 'head']


def _segment_mask(ids_BT: jax.Array,
                  segments_BT: jax.Array | None) -> jax.Array:
  T = ids_BT.shape[1]
  mask_BTS = jnp.tril(jnp.ones((1, T, T), bool))
  if segments_BT is not None:
    mask_BTS &= segments_BT[:, :, None] == segments_BT[:, None, :]
  return mask_BTS


def init(config: model_config.ModelConfig, key: jax.Array) -> Params:
  """Draws fresh parameters; pure, so `jax.eval_shape` gives the shapes.

  Source: matrices that add to the residual are smaller in deep models, GPT-2
  (Radford et al. 2019) section 2.3.

  Args:
    config: shape of the model.
    key: random key.

  Returns:
    The tree of parameters, in `config.param_dtype`.
  """
  one = jnp.zeros((1, 1), jnp.int32)
  plain = dataclasses.replace(config, attention='xla')  # one token, any device
  params = Transformer(plain).init(key, one, one)['params']
  if config.smear:
    params = induction.prime(config, params, jax.random.fold_in(key, 1))
  return params


def hidden(config: model_config.ModelConfig, params: Params, *args: Any,
           **kwargs: Any) -> tuple[jax.Array, cache_lib.KvCache | None]:
  """Calls `Transformer.__call__` as a pure function.

  Source: Llama, arXiv:2302.13971 section 2.2.

  Args:
    config: shape of the model.
    params: parameters of the model.
    *args: arguments of `Transformer.__call__`.
    **kwargs: more of them.

  Returns:
    hidden_BTD, and the new cache.
  """
  return Transformer(config).apply({'params': params}, *args, **kwargs)


def hidden_and_routing(
    config: model_config.ModelConfig, params: Params, ids_BT: jax.Array,
    positions_BT: jax.Array, segments_BT: jax.Array
) -> tuple[jax.Array, moe.Routing | None]:
  """Computes hidden states of packed rows, and the counts of the routers.

  Args:
    config: shape of the model.
    params: parameters of the model.
    ids_BT: token ids.
    positions_BT: positions [tokens] in their sequences.
    segments_BT: number of the sequence in its row, from 1; 0 is empty.

  Returns:
    hidden_BTD, and the counts; None for a model without experts.
  """
  (hidden_BTD, _), sown = Transformer(config).apply(
      {'params': params}, ids_BT, positions_BT, segments_BT,
      mutable=[moe.COLLECTION])
  if not config.num_experts:
    return hidden_BTD, None
  return hidden_BTD, moe.routing(sown, (segments_BT > 0).sum())


def logits(config: model_config.ModelConfig, params: Params,
           hidden_: jax.Array) -> jax.Array:
  """Calls `Transformer.logits` as a pure function.

  Args:
    config: shape of the model.
    params: parameters of the model.
    hidden_: hidden states [..., D] after the final norm.

  Returns:
    float32 logits [..., V].
  """
  return Transformer(config).apply({'params': params}, hidden_,
                                   method=Transformer.logits)
