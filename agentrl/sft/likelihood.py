"""The loss of supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from agentrl.models import config as model_config
from agentrl.models import logprobs
from agentrl.models import moe


def next_token(params: Any, batch: Mapping[str, jax.Array], *,
               model: model_config.ModelConfig
              ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Returns the mean negative log-likelihood [nats/token] of target tokens.

  Args:
    params: parameters of the model.
    batch: packed rows `ids_BT positions_BT segments_BT target_BT`, and
      `total`, the number of target tokens of the whole batch.
    model: shape of the model.

  Returns:
    The loss and its metrics.
  """
  logp_BT, entropy_BT, routing = logprobs.token_logps(
      model, params, batch['ids_BT'], batch['positions_BT'],
      batch['segments_BT'], batch['target_BT'])
  total = batch['total']
  balance, metrics = moe.penalty(model, routing,
                                 batch['target_BT'].sum() / total)
  return -logp_BT.sum() / total + balance, {
      'entropy_nats': entropy_BT.sum() / total, **metrics}
