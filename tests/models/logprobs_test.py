"""Log-probabilities are those of the softmax, wherever logits are made."""

import functools

import jax
import numpy as np
import pytest

from agentrl.models import config as model_config
from agentrl.models import logprobs
from agentrl.models import transformer

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=1, d_model=16, num_heads=2, num_kv_heads=1,
    head_dim=8, d_ff=16, max_length=32)
PARAMS = jax.jit(functools.partial(transformer.init, CONFIG))(jax.random.key(0))
IDS = np.random.default_rng(0).integers(0, 31, (2, 8))
POSITIONS = np.array([[0, 1, 2, 3, 4, 0, 1, 2]] * 2)
SEGMENTS = np.array([[1, 1, 1, 1, 1, 2, 2, 2]] * 2)
TARGET = np.array([[1, 1, 0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0, 0, 0]], bool)


def scores(params, target=TARGET):
  return jax.jit(functools.partial(logprobs.token_logps, CONFIG))(
      params, IDS, POSITIONS, SEGMENTS, target)[:2]


def plain(params):
  """By hand: all logits, all log-probabilities, one token at a time."""
  hidden_BTD, _ = transformer.hidden(CONFIG, params, IDS, POSITIONS, SEGMENTS)
  full_BTV = np.asarray(jax.nn.log_softmax(
      transformer.logits(CONFIG, params, hidden_BTD)), np.float64)
  logp_BT, entropy_BT = np.zeros((2, 2, 8))
  for b, t in np.argwhere(TARGET & (POSITIONS > 0)):
    logp_BT[b, t] = full_BTV[b, t - 1, IDS[b, t]]
    p_V = np.exp(full_BTV[b, t - 1])
    entropy_BT[b, t] = -(p_V * full_BTV[b, t - 1]).sum()
  return logp_BT, entropy_BT


@pytest.mark.parametrize('chunk', [4096, 6, 2])
def test_token_logps_are_those_of_the_softmax(monkeypatch, chunk):
  monkeypatch.setattr(logprobs, 'CHUNK', chunk)
  for found, want in zip(scores(PARAMS), plain(PARAMS)):
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)


def test_chunks_change_no_gradient(monkeypatch):
  def grads():
    return jax.grad(lambda p: sum(x.sum() for x in scores(p)))(PARAMS)
  want = grads()
  monkeypatch.setattr(logprobs, 'CHUNK', 4)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5),
               grads(), want)


def test_no_targets_give_zeros():
  for found in scores(PARAMS, np.zeros_like(TARGET)):
    assert not found.any()
