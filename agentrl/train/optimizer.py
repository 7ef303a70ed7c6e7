"""Optimisers from a config section."""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax import contrib

# (input axes, output axes) of each kernel; other axes are separate matrices.
# Counted from the end, because a scanned layer has one more in front.
_MATRICES = {'qkv': (-3, (-2, -1)), 'up': (-3, -1), 'out': (-2, -1),
             'down': (-2, -1), 'smear': (-2, -1)}


def make(*, name: str, peak_lr: float, norm_lr: float, warmup_steps: int,
         total_steps: int, schedule: str, clip_norm: float,
         weight_decay: float, b1: float, b2: float
         ) -> optax.GradientTransformation:
  """Clip by global norm, then AdamW or Muon with a warm-up and a schedule.

  Args:
    name: `adamw` (arXiv:1711.05101), or `muon` (Jordan et al., 2024) for the
      matrices of the layers with AdamW for the rest.
    peak_lr: learning rate after the warm-up.
    norm_lr: that of the scales of the norms, in multiples of the others': they
      are near 1 whatever the width, where the entries of a matrix shrink with
      it (arXiv:2203.03466 table 8).
    warmup_steps: linear from 0.
    total_steps: where a `cosine` reaches 0; unused by `constant`.
    schedule: `cosine` or `constant`.
    clip_norm: bound on the global norm of the gradient.
    weight_decay: decoupled, on matrices only.
    b1: decay of the first moment (of the momentum, for Muon).
    b2: decay of the second moment.

  Raises:
    ValueError: unknown name or schedule.
  """
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
  rate = optax.join_schedules([rise, after], [warmup_steps])
  match name:
    case 'adamw':
      tx = optax.adamw(rate, b1=b1, b2=b2, weight_decay=weight_decay,
                       mask=is_matrix)
    case 'muon':
      tx = contrib.muon(
          rate, beta=b1, weight_decay=weight_decay, adam_b1=b1, adam_b2=b2,
          muon_weight_dimension_numbers=_muon_dims,
          # The scale of an AdamW update (arXiv:2502.16982 eq. 4), so that one
          # learning rate serves both kinds of parameter.
          consistent_rms=0.2)
    case _:
      raise ValueError(f"optimizer.name must be 'adamw' or 'muon', got "
                       f'{name!r}.')
  return optax.chain(optax.clip_by_global_norm(clip_norm), tx,
                     optax.masked(optax.scale(norm_lr), is_norm))


def is_norm(params: Any) -> Any:
  """True for each scale of a norm."""
  return jax.tree_util.tree_map_with_path(
      lambda path, _: getattr(path[-1], 'key', '') == 'scale', params)


def is_matrix(params: Any) -> Any:
  """True for each parameter that is no vector: no scale or bias either, which
  have two axes where layers are scanned, or heads apart."""
  return jax.tree_util.tree_map_with_path(
      lambda path, p: p.ndim > 1 and getattr(path[-1], 'key', '') not in (
          'scale', 'bias'), params)


def _muon_dims(params: Any) -> Any:
  """What Muon orthogonalises: the kernels of the layers, by name."""
  def dims(path, param):
    names = [str(getattr(part, 'key', part)) for part in path]
    axes = _MATRICES.get(names[-2]) if len(names) > 1 else None
    if axes is None:
      return None
    from_end = lambda a: (tuple(x % param.ndim for x in a)
                          if isinstance(a, tuple) else a % param.ndim)
    return contrib.MuonDimensionNumbers(*map(from_end, axes))
  return jax.tree_util.tree_map_with_path(dims, params)
