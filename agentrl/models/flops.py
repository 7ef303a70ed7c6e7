"""FLOPs that a model needs: of matrix products alone, each counted once.

Source: PaLM, arXiv:2204.02311 appendix B; but causal attention counts the keys
that are seen, half of the square, and a token counts its own experts alone.
"""

from __future__ import annotations

from collections.abc import Callable
import math

from agentrl.models import config as model_config


def forward(config: model_config.ModelConfig, rows: int, length: int, *,
            picked: float) -> float:
  """Counts the FLOPs of a forward pass over causal rows.

  Source: PaLM, arXiv:2204.02311 appendix B.

  Args:
    config: shape of the model.
    rows: number of rows.
    length: tokens of a row, which is one sequence.
    picked: share of the tokens that logits are made for.

  Returns:
    FLOPs of all rows together.
  """
  def seen(window: float) -> float:  # mean of min(t, window), t = 1 .. length
    w = min(window, length)
    return w * (length - (w - 1) / 2) / length
  return rows * length * _of_token(config, seen, picked)


def token(config: model_config.ModelConfig, keys: float, *, picked: float
         ) -> float:
  """Counts the FLOPs of one token.

  Args:
    config: shape of the model.
    keys: tokens that it sees.
    picked: share of the tokens that logits are made for.
  """
  return _of_token(config, lambda window: min(window, keys), picked)


def _of_token(config: model_config.ModelConfig, seen: Callable[[float], float],
              picked: float) -> float:
  """Counts a token's FLOPs; `seen` maps a layer's window to the keys that it
  sees."""
  c = config
  heads = 2 * (c.num_heads + c.num_kv_heads) * c.head_dim * c.d_model
  mlp = 3 * c.d_model * c.d_ff * max(1, c.experts_per_token)
  router = c.d_model * c.num_experts
  global_ = c.num_layers // c.global_every
  keys = (global_ * seen(math.inf)
          + (c.num_layers - global_) * seen(c.window))
  return 2.0 * (c.num_layers * (heads + mlp + router)
                + 2 * c.num_heads * c.head_dim * keys
                + (c.smear + picked * c.vocab_size / c.d_model) * c.d_model**2)
