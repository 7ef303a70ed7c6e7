"""The decoder, in flax.linen, used through pure functions.

Without a cache it attends causally within segments (packed rows); with one it
writes the new keys and values at their positions and attends to all before.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from agentrl.models import attention
from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.models import induction
from agentrl.models import lora

Params = Any


class RMSNorm(nn.Module):
  """x / rms(x) * scale, in float32. Source: arXiv:1910.07467 eq. 4."""

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    scale_D = self.param('scale', nn.initializers.ones, (x_BTD.shape[-1],),
                         self.config.param_dtype)
    x = x_BTD.astype(jnp.float32)
    x *= jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + self.config.norm_eps)
    return (x * scale_D).astype(x_BTD.dtype)


def _dense(config: model_config.ModelConfig, features: int | tuple[int, ...],
           name: str | None, *, depth: float = 1.0, bias: bool = False
           ) -> lora.Dense:
  """A matrix; `depth` shrinks what writes to the residual."""
  init = nn.initializers.variance_scaling(1.0 / depth, 'fan_in', 'normal')
  return lora.Dense(
      features, use_bias=bias, name=name, dtype=config.dtype,
      param_dtype=config.param_dtype, kernel_init=init)


class Attention(nn.Module):
  """Causal self-attention, within segments or over a cache."""

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array, positions_BT: jax.Array,
               mask_BTS: jax.Array, cache: tuple[jax.Array, jax.Array] | None
              ) -> tuple[jax.Array, tuple[jax.Array, jax.Array] | None]:
    c = self.config
    heads = (c.num_heads + 2 * c.num_kv_heads, c.head_dim)
    qkv_BTMH = _dense(c, heads, 'qkv', bias=c.qkv_bias)(x_BTD)
    q, k, v = jnp.split(
        qkv_BTMH, (c.num_heads, c.num_heads + c.num_kv_heads), axis=2)
    if c.qk_norm:  # each head by itself, all heads with one scale
      q, k = RMSNorm(c, name='q_norm')(q), RMSNorm(c, name='k_norm')(k)
    q = attention.rope(q, positions_BT, c.rope_theta, c.rope_scaling)
    k = attention.rope(k, positions_BT, c.rope_theta, c.rope_scaling)
    if cache is None:
      out_BTNH = attention.attend_causal(
          q, jnp.transpose(k, (0, 2, 3, 1)), jnp.swapaxes(v, 1, 2), mask_BTS)
    else:
      cache = cache_lib.write(*cache, k, v, positions_BT)
      out_BTNH = attention.attend(q, *cache, mask_BTS)
    flat = out_BTNH.reshape(*x_BTD.shape[:2], -1)
    return _dense(c, c.d_model, 'out', depth=2 * c.num_layers)(flat), cache


class Mlp(nn.Module):
  """SwiGLU. Source: arXiv:2002.05202 eq. 6."""

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    c = self.config
    gate_BT2F = _dense(c, (2, c.d_ff), 'up')(x_BTD)
    hidden_BTF = nn.silu(gate_BT2F[..., 0, :]) * gate_BT2F[..., 1, :]
    return _dense(c, c.d_model, 'down', depth=2 * c.num_layers)(hidden_BTF)


class Layer(nn.Module):
  """One pre-norm decoder layer."""

  config: model_config.ModelConfig

  @nn.compact
  def __call__(self, x_BTD: jax.Array, positions_BT: jax.Array,
               mask_BTS: jax.Array, cache: Any) -> tuple[jax.Array, Any]:
    c = self.config
    seen_BTD, cache = Attention(c, name='attention')(
        RMSNorm(c, name='attention_norm')(x_BTD), positions_BT, mask_BTS, cache)
    x_BTD += seen_BTD
    x_BTD += Mlp(c, name='mlp')(RMSNorm(c, name='mlp_norm')(x_BTD))
    return x_BTD, cache


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
      policy = getattr(jax.checkpoint_policies, model_config.REMAT[c.remat])
      # Else XLA merges what is made again with what was; in a scan it cannot.
      layer = nn.remat(Layer, policy=policy, prevent_cse=not c.scan_layers)
    if c.scan_layers:
      self.layers = nn.scan(
          layer, variable_axes={'params': 0}, split_rngs={'params': True},
          in_axes=(nn.broadcast, nn.broadcast, 0), out_axes=0,
          length=c.num_layers)(c)
    else:
      self.layers = [layer(c) for _ in range(c.num_layers)]
    self.final_norm = RMSNorm(c)

  def __call__(self, ids_BT: jax.Array, positions_BT: jax.Array,
               segments_BT: jax.Array | None = None,
               cache: cache_lib.Cache | None = None
              ) -> tuple[jax.Array, cache_lib.Cache | None]:
    """Hidden states.

    Args:
      ids_BT: token ids.
      positions_BT: place of each token in its sequence. With a cache, a
        negative one marks a pad.
      segments_BT: which sequence of a packed row; 0 is empty. None: one each.
      cache: see the module.

    Returns:
      hidden_BTD after the final norm, and the new cache.
    """
    if cache is not None:
      cache = cache._replace(ids_BS=cache_lib.write_ids(
          cache.ids_BS, ids_BT, positions_BT))
    x_BTD = self._embed(ids_BT, positions_BT, cache)
    if cache is None:
      mask_BTS = _segment_mask(ids_BT, segments_BT)
    else:
      mask_BTS = jnp.arange(cache.length) <= positions_BT[..., None]
    x_BTD, cache = self._run(x_BTD, positions_BT, mask_BTS, cache)
    return self.final_norm(x_BTD), cache

  def _embed(self, ids_BT: jax.Array, positions_BT: jax.Array,
             cache: cache_lib.Cache | None) -> jax.Array:
    x_BTD = self.embed[ids_BT].astype(self.config.dtype)
    carried_BTD = 0.0
    for back in range(self.config.smear, 0, -1):  # S (e1 + S (e2 + ...))
      if cache is None:
        before_BT = jnp.roll(ids_BT, back, axis=1)
      else:
        before_BT = jnp.take_along_axis(
            cache.ids_BS, jnp.maximum(positions_BT - back, 0), axis=1)
      none_BT1 = positions_BT[..., None] < back
      before_BTD = self.embed[before_BT].astype(self.config.dtype)
      carried_BTD = self.smear(carried_BTD + jnp.where(none_BT1, 0, before_BTD))
    return x_BTD + carried_BTD

  def _run(self, x_BTD, positions_BT, mask_BTS, cache):
    if self.config.scan_layers:
      stacked = None
      if cache is not None:
        stacked = (jnp.stack(cache.k), jnp.stack(cache.v))
      x_BTD, stacked = self.layers(x_BTD, positions_BT, mask_BTS, stacked)
      if cache is not None:
        cache = cache._replace(k=tuple(jnp.unstack(stacked[0])),
                               v=tuple(jnp.unstack(stacked[1])))
      return x_BTD, cache
    new = []
    for i, layer in enumerate(self.layers):
      old = None if cache is None else (cache.k[i], cache.v[i])
      x_BTD, kept = layer(x_BTD, positions_BT, mask_BTS, old)
      new.append(kept)
    if cache is not None:
      k, v = zip(*new)
      cache = cache._replace(k=k, v=v)
    return x_BTD, cache

  def logits(self, hidden: jax.Array) -> jax.Array:
    """float32 logits [..., V] of hidden states [..., D]."""
    head_VD = self.embed if self.config.tie_embeddings else self.head
    return jnp.einsum('...D,VD->...V', hidden, head_VD.astype(hidden.dtype),
                      preferred_element_type=jnp.float32)


def _segment_mask(ids_BT: jax.Array,
                  segments_BT: jax.Array | None) -> jax.Array:
  T = ids_BT.shape[1]
  mask_BTS = jnp.tril(jnp.ones((1, T, T), bool))
  if segments_BT is not None:
    mask_BTS &= segments_BT[:, :, None] == segments_BT[:, None, :]
  return mask_BTS


def init(config: model_config.ModelConfig, key: jax.Array) -> Params:
  """Fresh parameters; a pure function, so `jax.eval_shape` gives the shapes."""
  one = jnp.zeros((1, 1), jnp.int32)
  params = Transformer(config).init(key, one, one)['params']
  if config.smear:
    params = induction.prime(config, params, jax.random.fold_in(key, 1))
  return params


def hidden(config: model_config.ModelConfig, params: Params, *args: Any,
           **kwargs: Any) -> tuple[jax.Array, cache_lib.Cache | None]:
  """`Transformer.__call__` as a pure function."""
  return Transformer(config).apply({'params': params}, *args, **kwargs)


def logits(config: model_config.ModelConfig, params: Params,
           hidden_: jax.Array) -> jax.Array:
  """`Transformer.logits` as a pure function."""
  return Transformer(config).apply({'params': params}, hidden_,
                                   method=Transformer.logits)
