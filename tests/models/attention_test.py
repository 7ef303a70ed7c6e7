"""Attention and rotary embedding, by hand and against the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.models import attention


def test_rope_worked_numbers():
  x = jnp.array([1.0, 0.0, 0.0, 2.0]).reshape(1, 1, 1, 4)
  out = attention.rope(x, jnp.array([[3]]), attention.rates(100.0, 4))[0, 0, 0]
  # Pairs (x0, x2) and (x1, x3), turned by 3 and by 3 / 10 radians.
  np.testing.assert_allclose(
      out, [np.cos(3), -2 * np.sin(0.3), np.sin(3), 2 * np.cos(0.3)],
      rtol=1e-5)


def test_rope_products_depend_on_distance_alone():
  rng = np.random.default_rng(0)
  q, k = rng.normal(size=(2, 1, 1, 1, 8))
  rate = attention.rates(1e4, 8)
  def product(m, n):
    return (attention.rope(q, jnp.array([[m]]), rate)
            * attention.rope(k, jnp.array([[n]]), rate)).sum()
  np.testing.assert_allclose(product(9, 4), product(105, 100), rtol=1e-4)


def test_worked_numbers():
  # Scores 0 and ln 3 after the scale of 1 / sqrt(4): weights 1/4 and 3/4.
  q = jnp.full((1, 1, 1, 4), 1.0)
  k = jnp.stack([jnp.zeros(4), jnp.full(4, np.log(3) / 2)], 1)[None, None]
  v = jnp.array([[8.0, 0, 0, 1], [0, 4, 0, 1]])[None, None]
  out = attention.attend(q, k, v, jnp.ones((1, 1, 2), bool))
  np.testing.assert_allclose(out[0, 0, 0], [2, 3, 0, 1], rtol=1e-6)


def inputs(T):
  rng = np.random.default_rng(0)
  q, k, v = (rng.normal(size=s).astype(np.float32) for s in (
      (2, T, 6, 4), (2, 3, 4, T), (2, 3, T, 4)))
  segments = np.array([[1] * 4 + [2] * (T - 4), [1] * (T - 2) + [0] * 2])
  mask = np.tril(segments[:, :, None] == segments[:, None, :])
  return q, k, v, mask


def naive(q, k, v, mask):
  out = np.zeros_like(q)
  for b, t, n in np.ndindex(*q.shape[:3]):
    score = q[b, t, n] @ k[b, n // 2] / 2
    weight = np.exp(score) * mask[b, t]
    out[b, t, n] = weight @ v[b, n // 2] / weight.sum()
  return out


def test_is_the_plain_formula():
  args = inputs(10)
  np.testing.assert_allclose(attention.attend(*args), naive(*args), atol=1e-5)


def test_blocks_change_nothing_not_even_gradients(monkeypatch):
  *qkv, mask = inputs(10)
  def grads(fn):
    loss = lambda q, k, v: (fn(q, k, v, mask)**2).sum()
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*qkv)
  want = grads(attention.attend)
  monkeypatch.setattr(attention, '_BLOCK', 4)  # the last one is half full
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4),
               grads(attention.attend_causal), want)


def test_a_query_that_sees_nothing_is_finite():
  q, k, v, mask = inputs(10)
  out = attention.attend(q, k, v, np.zeros_like(mask))
  np.testing.assert_allclose(
      out[:, 0], np.repeat(v.mean(2), 2, axis=1), atol=1e-5)


def test_half_precision_stays_near():
  q, k, v, mask = inputs(10)
  half = [jnp.asarray(x, jnp.bfloat16) for x in (q, k, v)]
  out = attention.attend(*half, mask)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(out.astype(np.float32), naive(q, k, v, mask),
                             atol=0.05)
