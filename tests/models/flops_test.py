"""FLOPs of a small model by hand."""

import dataclasses

from agentrl.models import config as model_config
from agentrl.models import flops

MODEL = model_config.ModelConfig(
    vocab_size=7, num_layers=3, d_model=4, num_heads=2, num_kv_heads=1,
    head_dim=2, d_ff=5, max_length=8)
# Queries, out; keys, values; MLP.
MATRICES = 3 * (2 * 2 * 4 * 2 + 2 * 4 * 2 + 3 * 4 * 5)


def test_a_dense_model():
  # Queries meet 1, 2, 3 and 4 keys of 2 heads of 2, and values again.
  attention = 3 * (1 + 2 + 3 + 4) * 2 * 2 * 2
  assert flops.forward(MODEL, 5, 4, picked=0.5) == 5 * 2 * (
      4 * (MATRICES + 0.5 * 4 * 7) + attention)
  assert flops.token(MODEL, 9, picked=0.0) == 2 * (MATRICES + 3 * 9 * 8)


def test_local_layers_see_their_window_and_smear_has_a_matrix():
  model = dataclasses.replace(MODEL, window=2, global_every=3, smear=2)
  attention = ((1 + 2 + 3 + 4) + 2 * (1 + 2 + 2 + 2)) * 8
  assert flops.forward(model, 1, 4, picked=0.0) == 2 * (
      4 * (MATRICES + 2 * 4 * 4) + attention)
  assert flops.token(model, 9, picked=0.0) == 2 * (
      MATRICES + 2 * 4 * 4 + (9 + 2 + 2) * 8)


def test_a_token_goes_through_its_own_experts():
  model = dataclasses.replace(MODEL, num_experts=6, experts_per_token=2)
  more = flops.token(model, 1, picked=0.0) - flops.token(MODEL, 1, picked=0.0)
  assert more == 2 * 3 * (3 * 4 * 5 + 4 * 6)
