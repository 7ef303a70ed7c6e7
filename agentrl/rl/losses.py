"""Policy-gradient losses of each token.

A loss is a function `(logp_BT, logp_old_BT, adv_BT, **kw) -> (loss_BT,
clipped_BT)`, named in the config by import path; `batch_loss` reduces it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from agentrl import shapes
from agentrl.models import config as model_config
from agentrl.models import logprobs
from agentrl.models import moe


def clipped_surrogate(
    logp_BT: jax.Array, logp_old_BT: jax.Array, adv_BT: jax.Array, *,
    clip_low: float, clip_high: float) -> tuple[jax.Array, jax.Array]:
  """Returns the clipped policy-gradient loss of each token.

  Source: PPO, arXiv:1707.06347 eq. 7; two-sided clip: DAPO, arXiv:2503.14476.

  Args:
    logp_BT: log-probability [nats] of the sampled token, current params.
    logp_old_BT: same, from the params that sampled it; constant.
    adv_BT: advantage of the episode that the token belongs to, in the unit of
      `rl/advantages.py`.
    clip_low: the ratio counts only down to 1 - clip_low.
    clip_high: and only up to 1 + clip_high.

  Returns:
    loss_BT, also at prompt and tool tokens: reduce it under the target mask;
    clipped_BT: bool, True where the clip cuts the gradient.

  Raises:
    ValueError: shapes disagree (raised while tracing).
  """
  shapes.check(logp_BT=logp_BT, logp_old_BT=logp_old_BT, adv_BT=adv_BT)
  ratio_BT = jnp.exp(logp_BT - jax.lax.stop_gradient(logp_old_BT))
  held_BT = jnp.clip(ratio_BT, 1 - clip_low, 1 + clip_high)
  clipped_BT = held_BT * adv_BT < ratio_BT * adv_BT
  return -jnp.minimum(ratio_BT * adv_BT, held_BT * adv_BT), clipped_BT


def batch_loss(params: Any, batch: Mapping[str, jax.Array], *,
               model: model_config.ModelConfig, temperature: float,
               loss: Callable[..., Any], loss_kw: Mapping[str, float]
              ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Returns the token mean of `loss` over the agent tokens of a batch.

  Args:
    params: parameters of the policy.
    batch: output of `rollout.trajectory.to_batch`, and `total`, the number of
      target tokens of the *whole* batch: a part of a batch returns its part of
      the mean, so that summed gradients are those of the whole.
    model: shape of the policy.
    temperature: temperature of the samples. The trained policy is the sampled
      one, softmax(logits / temperature).
    loss: see the module.
    loss_kw: keyword arguments of `loss`.

  Returns:
    The loss, and metrics of the targets: parts of means over the whole batch,
    except `*_max`.
  """
  target_BT = batch['target_BT']
  logp_BT, entropy_BT, routing = logprobs.token_logps(
      model, params, batch['ids_BT'], batch['positions_BT'],
      batch['segments_BT'], target_BT, temperature=temperature)
  # Off target both are set equal, so that an unused ratio cannot overflow.
  old_BT = jnp.where(target_BT, batch['logp_old_BT'], logp_BT)
  loss_BT, clipped_BT = loss(logp_BT, old_BT, batch['adv_BT'], **loss_kw)
  delta_BT = logp_BT - old_BT

  def mean(x_BT):
    return jnp.where(target_BT, x_BT, 0.0).sum() / batch['total']

  balance, router = moe.penalty(model, routing,
                                target_BT.sum() / batch['total'])
  metrics = {
      'entropy_nats': mean(entropy_BT),
      'ratio_mean': mean(jnp.exp(delta_BT)),
      'clip_share': mean(clipped_BT.astype(jnp.float32)),
      'kl_old_nats': mean(jnp.expm1(delta_BT) - delta_BT),
      # Gap between trainer and sampler; before any update, by rounding.
      'logp_gap_mean': mean(jnp.abs(delta_BT)),
      'logp_gap_max': jnp.abs(delta_BT).max(), **router,
  }
  return mean(loss_BT) + balance, metrics
