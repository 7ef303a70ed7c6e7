"""Kernels compute what the plain formulas do; their emulation shows it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import attention
from agentrl.models import kernels


def packed(T):
  rng = np.random.default_rng(0)
  q, k, v, to = (jnp.asarray(rng.normal(size=(1, T, heads, 128)), jnp.float32)
                 for heads in (4, 2, 2, 4))
  segments = jnp.asarray(np.repeat([1, 2], [T // 3, T - T // 3])[None],
                         jnp.int32)
  return (q, k, v), segments, to


def plain(q, k, v, segments):
  mask = jnp.tril(segments[:, :, None] == segments[:, None, :])
  return attention.attend_causal(q, jnp.transpose(k, (0, 2, 3, 1)),
                                 jnp.swapaxes(v, 1, 2), mask)


@pytest.mark.slow
def test_splash_is_the_plain_formula_with_its_gradients(monkeypatch):
  monkeypatch.setattr(kernels, '_BLOCK', 128)  # two of them
  args, segments, to = packed(256)
  def both(attend):
    loss = lambda *qkv: (attend(*qkv, segments) * to).sum()
    return attend(*args, segments), *jax.grad(loss, argnums=(0, 1, 2))(*args)
  splash = functools.partial(kernels.splash, interpret=True)
  for found, want in zip(both(splash), both(plain)):
    np.testing.assert_allclose(found, want, atol=2e-4)


def test_lengths_and_types_that_do_not_fit_are_refused():
  args, segments, _ = packed(100)
  with pytest.raises(ValueError, match='multiple of 128 tokens, but .* is 100'):
    kernels.splash(*args, segments)
  kernels.check_length('splash', 256, 'config.length')
  kernels.check_length('xla', 100, 'config.length')
  with pytest.raises(ValueError, match='bfloat16 or float16 .* got float32'):
    kernels.cudnn(*args, segments)


def test_gradients_of_experts_are_those_of_the_ragged_product():
  rng = np.random.default_rng(0)
  x_RD, kernel_EDF, to_RF = (jnp.asarray(rng.normal(size=s), jnp.float32)
                             for s in ((256, 128), (4, 128, 256), (256, 256)))
  count_E = jnp.array([100, 0, 60, 50])  # one is idle, 46 rows are nobody's
  live_R1 = (jnp.arange(256) < 210)[:, None]

  def grads(product):
    def loss(x_RD, kernel_EDF):
      out_RF = product(jnp.where(live_R1, x_RD, 0), kernel_EDF, count_E)
      return jnp.where(live_R1, out_RF * to_RF, 0).sum()
    return jax.jit(jax.grad(loss, argnums=(0, 1)))(x_RD, kernel_EDF)
  emulated = lambda *args: kernels.megablox(*args, jnp.float32, True)
  for found, want in zip(grads(emulated), grads(jax.lax.ragged_dot)):
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-3)
