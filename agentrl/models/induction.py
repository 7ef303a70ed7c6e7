"""Initial weights that can copy, for models from scratch.

Reading an order's id off the prompt and writing it into a call takes an
induction head: attend to the token after an earlier equal one, and repeat it.
Language models grow theirs after hundreds of millions of tokens; a model that
must learn a domain in a few minutes starts with them in its first layer. The
idea is that of mimetic initialisation (arXiv:2305.09828, and for recall
arXiv:2410.11135); training is free to change every weight.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from agentrl.models import config as model_config

SHARPNESS = 2.0  # scale of the match: equal tokens score about 10


def prime(config: model_config.ModelConfig, params: Any, key: jax.Array
         ) -> Any:
  """Turns the first layer's heads into induction heads.

  With smeared embeddings a token's state is e_t + S e_{t-1} + S S e_{t-2},
  S orthogonal. Queries project it by Q and keys by S'Q, so e_t meets e_{s-1},
  and S e_{t-1} meets S e_{s-2}: two tokens that recur count twice. Values
  project by V and the output by V', so the result resembles e_s.

  Source: induction heads, arXiv:2209.11895; set by hand, arXiv:2410.11135.

  Args:
    config: shape of the model, with `smear`.
    params: fresh parameters.
    key: random key of the projections.

  Returns:
    params with `smear` and the first layer's attention replaced.
  """
  d_model, heads, size = config.d_model, config.num_heads, config.head_dim
  keys = jax.random.split(key, 3)
  smear_DD = _orthonormal(keys[0], d_model, d_model)
  query_DH = SHARPNESS * _orthonormal(keys[1], d_model, size)
  value_DH = _orthonormal(keys[2], d_model, size)
  kv_heads = config.num_kv_heads
  qkv_DMH = jnp.stack([query_DH] * heads + [smear_DD.T @ query_DH] * kv_heads
                      + [value_DH] * kv_heads, axis=1)
  out = jnp.concatenate([value_DH.T] * heads) / heads
  params = {**params, 'smear': {'kernel': smear_DD}}
  name = 'layers' if config.scan_layers else 'layers_0'
  attention = {'qkv': {'kernel': qkv_DMH}, 'out': {'kernel': out}}
  if config.scan_layers:
    attention = jax.tree.map(lambda new, old: old.at[0].set(new), attention,
                             params[name]['attention'])
  params[name] = {**params[name], 'attention': attention}
  return jax.tree.map(lambda x: x.astype(config.param_dtype), params)


def _orthonormal(key: jax.Array, rows: int, columns: int) -> jax.Array:
  """Draws a matrix with orthonormal columns, or rows if those are fewer."""
  wide = columns > rows
  shape = (columns, rows) if wide else (rows, columns)
  q = jnp.linalg.qr(jax.random.normal(key, shape))[0]
  return q.T if wide else q
