"""Optimisers from a config section."""

from __future__ import annotations

import inspect
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from agentrl import resolve
from agentrl.models import lora

# Optimisers of optax that need nothing but gradients and a learning rate.
OPTAX = ('adabelief', 'adadelta', 'adafactor', 'adagrad', 'adam', 'adamax',
         'adamaxw', 'adamw', 'adan', 'amsgrad', 'fromage', 'lamb', 'lars',
         'lion', 'nadam', 'nadamw', 'novograd', 'radam', 'rmsprop', 'sgd',
         'sign_sgd', 'signum', 'yogi')
_MASKS = {'mask', 'weight_decay_mask'}  # their names for the decayed leaves


def make(total_steps: int, *, name: str, peak_lr: float, norm_lr: float,
         warmup_steps: int, schedule: Literal['cosine', 'constant'],
         clip_norm: float, master: bool, **own: Any
         ) -> optax.GradientTransformation:
  """Makes an optimiser with gradient clipping, warm-up and a schedule.

  It computes in float32 and keeps float32 moments, for parameters of any
  dtype.

  Args:
    total_steps: updates of the whole run; a `cosine` reaches 0 there.
    name: `muon` (Jordan et al., 2024) for the matrices of the layers with
      AdamW for the rest, or one of optax, as `adamw` (arXiv:1711.05101) or
      `adafactor` (arXiv:1804.04235).
    peak_lr: learning rate after the warm-up.
    norm_lr: learning rate of the scales of norms, as a multiple of the others':
      scales are near 1 at any width, while the entries of matrices shrink with
      it (arXiv:2203.03466 table 8).
    warmup_steps: updates of the linear warm-up from 0.
    schedule: course of the learning rate after the warm-up.
    clip_norm: bound on the global norm of the gradient.
    master: updates a float32 copy of the parameters and rounds it to them.
      Without it, any update smaller than half an ulp is rounded away (half an
      ulp is up to 1/256 of a bfloat16 parameter).
    **own: keyword arguments of the optimiser itself, as b1 and b2 (decay rates
      of the first and second moments; b1 is Muon's momentum) and weight_decay,
      which is decoupled and applies to matrices only.

  Raises:
    ValueError: unknown name or schedule, or a keyword argument that the
      optimiser does not take.
  """
  rate = _rate(peak_lr, warmup_steps, total_steps, schedule)
  if name != 'muon' and name not in OPTAX:
    raise ValueError(f'No optimizer.name {name!r}.'
                     + resolve.hint(name, ('muon', *OPTAX)))
  fn = muon if name == 'muon' else getattr(optax, name)
  masks = _MASKS & inspect.signature(fn).parameters.keys()
  tx = resolve.call(fn, {'learning_rate': rate, **own,
                         **dict.fromkeys(masks, is_matrix)})
  tx = optax.chain(optax.clip_by_global_norm(clip_norm), tx,
                   _scale_norms(norm_lr))
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


def _scale_norms(norm_lr: float) -> optax.GradientTransformation:
  """Multiplies the updates of the scales of norms."""
  def norms(params: Any) -> Any:
    mask = is_norm(params)
    if norm_lr != 1 and not any(jax.tree.leaves(mask)):
      raise ValueError(f'optimizer.norm_lr={norm_lr} would have no effect: no '
                       'norm is trained (adapters are of matrices alone). Set '
                       'it to 1.0.')
    return mask
  return optax.masked(optax.scale(norm_lr), norms)


def muon(learning_rate: optax.Schedule, b1: float, b2: float,
         weight_decay: float) -> optax.GradientTransformation:
  """Makes Muon for the kernels of layers with AdamW for the rest."""
  return contrib.muon(
      learning_rate, beta=b1, weight_decay=weight_decay, adam_b1=b1, adam_b2=b2,
      muon_weight_dimension_numbers=_muon_dims,
      # The scale of an AdamW update (arXiv:2502.16982 eq. 4), so that one
      # learning rate serves both kinds of parameter.
      consistent_rms=0.2)


class Master(NamedTuple):
  """State of an optimiser that keeps float32 parameters of its own."""

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
          'optimizer.master=True would only double the memory: the trained '
          'parameters are float32 already (adapters always are). Set it to '
          'False, or model.param_dtype to bfloat16.')
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
  """Returns True for each scale of a norm."""
  return jax.tree_util.tree_map_with_path(
      lambda path, _: getattr(path[-1], 'key', '') == 'scale', params)


def is_matrix(params: Any) -> Any:
  """Returns False for each scale and bias, though scanned layers or heads may
  stack these into matrices, and for other vectors."""
  return jax.tree_util.tree_map_with_path(
      lambda path, p: p.ndim > 1 and getattr(
          path[-1], 'key', '') not in ('scale', 'bias'), params)


def _muon_dims(params: Any) -> Any:
  """Returns the axes of the kernels that Muon orthogonalises, found by name."""
  kernels = [[name, 'kernel'] for name in lora.MATRICES]
  def dims(path, param):
    names = [str(getattr(part, 'key', part)) for part in path]
    if len(names) < 2 or names[-2:] not in kernels:
      return None
    inner, outer = lora.MATRICES[names[-2]]
    return contrib.MuonDimensionNumbers(
        inner % param.ndim, tuple(axis % param.ndim for axis in outer))
  dims_of = jax.tree_util.tree_map_with_path(dims, params)
  if not jax.tree.leaves(dims_of):
    raise ValueError("optimizer.name='muon' is for the kernels of layers, and "
                     "none is trained (adapters are not): set it to 'adamw'.")
  return dims_of
