"""Optimisers from a config section."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from agentrl import resolve
from agentrl.models import lora

# Those of optax that need no more than gradients and a learning rate.
OPTAX = ('adabelief', 'adadelta', 'adafactor', 'adagrad', 'adam', 'adamax',
         'adamaxw', 'adamw', 'adan', 'amsgrad', 'fromage', 'lamb', 'lars',
         'lion', 'nadam', 'nadamw', 'novograd', 'radam', 'rmsprop', 'sgd',
         'sign_sgd', 'signum', 'yogi')
_MASKS = {'mask', 'weight_decay_mask'}  # their names for what is decayed


def make(*, name: str, peak_lr: float, norm_lr: float, warmup_steps: int,
         total_steps: int, schedule: str, clip_norm: float,
         master: bool = False, **own: Any) -> optax.GradientTransformation:
  """Clip by global norm, then an optimiser with a warm-up and a schedule.

  All of it computes in float32, and so are its moments, whatever the dtype of
  the parameters.

  Args:
    name: `muon` (Jordan et al., 2024) for the matrices of the layers with
      AdamW for the rest, or one of optax, as `adamw` (arXiv:1711.05101) or
      `adafactor` (arXiv:1804.04235).
    peak_lr: learning rate after the warm-up.
    norm_lr: that of the scales of the norms, in multiples of the others': they
      are near 1 whatever the width, where the entries of a matrix shrink with
      it (arXiv:2203.03466 table 8).
    warmup_steps: linear from 0.
    total_steps: where a `cosine` reaches 0; unused by `constant`.
    schedule: `cosine` or `constant`.
    clip_norm: bound on the global norm of the gradient.
    master: a float32 copy of the parameters is what is updated, and they are
      its roundings. Without it, of every step is lost what is less than half
      of the last of their bits (up to 1/256 of a bfloat16 parameter).
    **own: keyword arguments of the optimiser itself, as b1, b2 (decays of the
      first and second moments; b1 is the momentum's for Muon) and
      weight_decay, which is decoupled and on matrices only.

  Raises:
    ValueError: unknown name or schedule, or a field that it does not have.
  """
  rate = _rate(peak_lr, warmup_steps, total_steps, schedule)
  if name != 'muon' and name not in OPTAX:
    raise ValueError(f'No optimizer.name {name!r}.'
                     + resolve.hint(name, ('muon', *OPTAX)))
  fn = muon if name == 'muon' else getattr(optax, name)
  masks = _MASKS & inspect.signature(fn).parameters.keys()
  tx = resolve.call(fn, {'learning_rate': rate, **own,
                         **dict.fromkeys(masks, is_matrix)})

  def norms(params: Any) -> Any:
    mask = is_norm(params)
    if norm_lr != 1 and not any(jax.tree.leaves(mask)):
      raise ValueError(f'optimizer.norm_lr={norm_lr} would have no effect: no '
                       'norm is trained (adapters are of matrices alone). Set '
                       'it to 1.0.')
    return mask
  tx = optax.chain(optax.clip_by_global_norm(clip_norm), tx,
                   optax.masked(optax.scale(norm_lr), norms))
  return _with_master(tx) if master else _in_float32(tx)


def _rate(peak_lr: float, warmup_steps: int, total_steps: int, schedule: str
          ) -> optax.Schedule:
  match schedule:
    case 'cosine':
      after = optax.cosine_decay_schedule(
          peak_lr, max(1, total_steps - warmup_steps))
    case 'constant':
      after = optax.constant_schedule(peak_lr)
    case _:
      raise ValueError(f"optimizer.schedule must be 'cosine' or 'constant', "
                       f'got {schedule!r}.')
  # Joined by hand: optax's own warm-up of 0 steps would stay at 0 for ever.
  rise = optax.linear_schedule(0.0, peak_lr, max(1, warmup_steps))
  return optax.join_schedules([rise, after], [warmup_steps])


def muon(learning_rate: optax.Schedule, b1: float, b2: float,
         weight_decay: float) -> optax.GradientTransformation:
  """Muon for the kernels of layers, AdamW for the rest."""
  return contrib.muon(
      learning_rate, beta=b1, weight_decay=weight_decay, adam_b1=b1, adam_b2=b2,
      muon_weight_dimension_numbers=_muon_dims,
      # The scale of an AdamW update (arXiv:2502.16982 eq. 4), so that one
      # learning rate serves both kinds of parameter.
      consistent_rms=0.2)


class Master(NamedTuple):
  """State of an optimiser with float32 parameters of its own."""

  params: Any
  inner: Any


def _wide(tree: Any) -> Any:
  return optax.tree.cast(tree, jnp.float32)


def _in_float32(tx: optax.GradientTransformation
               ) -> optax.GradientTransformation:
  return optax.GradientTransformation(
      lambda params: tx.init(_wide(params)),
      lambda grads, state, params: tx.update(
          _wide(grads), state, _wide(params)))


def _with_master(tx: optax.GradientTransformation
                ) -> optax.GradientTransformation:
  def init(params: Any) -> Master:
    if all(p.dtype == jnp.float32 for p in jax.tree.leaves(params)):
      raise ValueError(
          'optimizer.master=True would only double the memory: what is trained '
          'is float32 already (adapters always are). Set it to False, or '
          'model.param_dtype to bfloat16.')
    return Master(_wide(params), tx.init(_wide(params)))

  def delta(new: jax.Array, old: jax.Array) -> jax.Array:
    bits = jnp.finfo(old.dtype)  # a cast to and fro may be optimised away
    return jax.lax.reduce_precision(new, bits.nexp, bits.nmant) - _wide(old)

  def update(grads: Any, state: Master, params: Any) -> tuple[Any, Master]:
    deltas, inner = tx.update(_wide(grads), state.inner, state.params)
    new = optax.apply_updates(state.params, deltas)
    return jax.tree.map(delta, new, params), Master(new, inner)

  return optax.GradientTransformation(init, update)


def is_norm(params: Any) -> Any:
  """True for each scale of a norm."""
  return jax.tree_util.tree_map_with_path(
      lambda path, _: getattr(path[-1], 'key', '') == 'scale', params)


def is_matrix(params: Any) -> Any:
  """True for each parameter that is no vector, nor many in one array: scales
  of scanned layers, biases of heads."""
  return jax.tree_util.tree_map_with_path(
      lambda path, p: p.ndim > 1 and getattr(
          path[-1], 'key', '') not in ('scale', 'bias'), params)


def _muon_dims(params: Any) -> Any:
  """What Muon orthogonalises: the kernels of the layers, by name."""
  kernels = [[name, 'kernel'] for name in lora.MATRICES]
  def dims(path, param):
    names = [str(getattr(part, 'key', part)) for part in path]
    if len(names) < 2 or names[-2:] not in kernels:
      return None
    inner, outer = lora.MATRICES[names[-2]]
    return contrib.MuonDimensionNumbers(
        inner % param.ndim, tuple(axis % param.ndim for axis in outer))
  found = jax.tree_util.tree_map_with_path(dims, params)
  if not jax.tree.leaves(found):
    raise ValueError("optimizer.name='muon' is for the kernels of layers, and "
                     "none is trained (adapters are not): set it to 'adamw'.")
  return found
