"""FLOPs that a model needs: of matrix products alone, none that is made again.

Source: PaLM, arXiv:2204.02311 appendix B; but causal attention counts the keys
that are seen, half of the square, and a token its own experts alone.
"""

from __future__ import annotations

from collections.abc import Callable
import math

from agentrl.models import config as model_config


def forward(config: model_config.ModelConfig, rows: int, length: int, *,
            picked: float) -> float:
  """Of a pass over causal rows.

  Args:
    config: of the model.
    rows: how many.
    length: of each [tokens], one sequence.
    picked: share of the tokens whose logits are made.
  """
  def seen(window: float) -> float:  # mean of min(t, window), t = 1 .. length
    w = min(window, length)
    return w * (length - (w - 1) / 2) / length
  return rows * length * _of_token(config, seen, picked)


def token(config: model_config.ModelConfig, keys: float, *, picked: float
         ) -> float:
  """Of one token that sees so many keys; `picked`: share with logits."""
  return _of_token(config, lambda window: min(window, keys), picked)


def _of_token(config: model_config.ModelConfig, seen: Callable[[float], float],
              picked: float) -> float:
  """`seen` gives the keys that a layer of such a window sees."""
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
