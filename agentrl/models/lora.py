"""Low-rank adapters: W stays as it is, and W + (alpha / r) A B is the model.

Source: LoRA, arXiv:2106.09685 section 4.1. The adapters of a kernel lie beside
it in the tree of parameters. A has the kernel's axes with the rank in place of
the output axes, B with the rank in place of the input axis: for `up` [D, 2, F]
they are [D, 2, R] and [R, 2, F], so gate and up have one each. Where layers are
scanned, their axis comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import math
import re
from typing import Any

from flax import traverse_util
import flax.linen as nn
import jax
import jax.numpy as jnp

from agentrl import resolve

A, B = 'lora_a', 'lora_b'

# (input axis, output axes) of each kernel; other axes are separate matrices.
# Counted from the end, because a scanned layer has one more in front.
MATRICES: dict[str, tuple[int, tuple[int, ...]]] = {
    'qkv': (-3, (-2, -1)), 'up': (-3, (-1,)), 'out': (-2, (-1,)),
    'down': (-2, (-1,)), 'smear': (-2, (-1,))}


class Dense(nn.DenseGeneral):
  """A matrix product; where adapters lie beside its kernel, x A B is added."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = super().__call__(x)
    if not self.has_variable('params', A):
      return y
    a, b = (self.get_variable('params', name).astype(x.dtype)
            for name in (A, B))
    w_axes, a_axes, b_axes = _letters(self.name)
    low = jnp.einsum(f'...{w_axes[0]},{a_axes}->...{a_axes[1:]}', x, a)
    return y + jnp.einsum(f'...{a_axes[1:]},{b_axes}->...{w_axes[1:]}', low, b)


def _letters(name: str) -> tuple[str, str, str]:
  """Returns the einsum axes of a kernel, input first, and of its A and B."""
  inner, outer = MATRICES[name]
  letters = 'xyz'[inner:]
  kept = ''.join(c for i, c in enumerate(letters, inner) if i not in outer)
  return letters, kept + 'r', 'r' + letters[1:]


def init(params: Any, key: jax.Array, *, rank: int, targets: str) -> Any:
  """Draws fresh adapters: A normal, B zero, so that nothing has changed yet.

  Source: LoRA, arXiv:2106.09685 section 4.1.

  Args:
    params: parameters of the model, or their shapes.
    key: random key of A.
    rank: R, the rank of A B.
    targets: regex; each kernel with a match in its path gets adapters.

  Returns:
    float32 A and B of each target, in a tree like that of `params`.

  Raises:
    ValueError: an ill-formed regex, targets that are not there or cannot have
      adapters, or a rank beyond their sizes.
  """
  flat = traverse_util.flatten_dict(params)
  adapters = {}
  for i, path in enumerate(_targets(flat, targets)):
    inner, outer = MATRICES[path[-2]]
    shape = flat[path].shape
    least = min(shape[inner], math.prod(shape[o] for o in outer))
    if rank > least:
      raise ValueError(
          f'lora.rank={rank} is beyond {"/".join(path)}, a matrix of rank '
          f'{least} at most: lower it, or leave that kernel out of '
          'lora.targets.')
    kept = tuple(n for axis, n in enumerate(shape, -len(shape))
                 if axis not in outer)
    b_shape = shape[:inner] + (rank,) + shape[len(shape) + inner + 1:]
    normal = jax.random.normal(jax.random.fold_in(key, i), (*kept, rank))
    adapters[*path[:-1], A] = normal * shape[inner]**-0.5
    adapters[*path[:-1], B] = jnp.zeros(b_shape)
  return traverse_util.unflatten_dict(adapters)


def _targets(flat: Mapping[tuple[str, ...], Any], targets: str
             ) -> list[tuple[str, ...]]:
  """Lists the paths of the kernels that a regex matches."""
  try:
    paths = [path for path in flat if re.search(targets, '/'.join(path))]
  except re.error as e:
    raise ValueError(f'lora.targets={targets!r} is no regex: {e}.') from e
  if not paths:
    raise ValueError(f'lora.targets={targets!r} matches no parameter.'
                     + resolve.hint(targets, map('/'.join, _able(flat))))
  if off := sorted({*paths} - {*_able(flat)}):
    names = ', '.join(map('/'.join, off[:4]))
    raise ValueError(f'lora.targets={targets!r} matches {names}, which cannot '
                     'have adapters: match the kernels '
                     f'{", ".join(MATRICES)} of layers alone, as '
                     r"r'(qkv|up)/kernel$'.")
  return paths


def _able(flat: Mapping[tuple[str, ...], Any]) -> Iterator[tuple[str, ...]]:
  """Yields the paths of the kernels of `Dense`; experts have none."""
  for path, leaf in flat.items():
    layers = path[0] == 'layers'
    if path[-1] == 'kernel' and path[-2] in MATRICES and (
        leaf.ndim - layers == -MATRICES[path[-2]][0]):
      yield path


def join(params: Any, adapters: Any, scale: float) -> Any:
  """Puts scaled adapters beside their kernels, for `Dense`.

  Source: LoRA, arXiv:2106.09685 eq. 3.

  Args:
    params: parameters of the model.
    adapters: A and B, as `init` makes them.
    scale: alpha / r; B is multiplied by it.

  Returns:
    Parameters of the model with adapters.
  """
  flat = traverse_util.flatten_dict(params)
  for path, x in traverse_util.flatten_dict(adapters).items():
    flat[path] = x * scale if path[-1] == B else x
  return traverse_util.unflatten_dict(flat)


def merge(params: Any, adapters: Any, scale: float) -> Any:
  """Merges adapters into a plain model, W + scale A B, summed in float32.

  Source: LoRA, arXiv:2106.09685 eq. 3.

  Args:
    params: parameters of the model.
    adapters: A and B, as `init` makes them.
    scale: alpha / r.

  Returns:
    Parameters of a plain model, in the types of `params`.
  """
  flat = traverse_util.flatten_dict(params)
  low = traverse_util.flatten_dict(adapters)
  for path in (path[:-1] for path in low if path[-1] == A):
    w_axes, a_axes, b_axes = _letters(path[-1])
    delta = jnp.einsum(f'...{a_axes},...{b_axes}->...{w_axes}',
                       low[*path, A], low[*path, B])
    w = flat[*path, 'kernel']
    flat[*path, 'kernel'] = (w + scale * delta).astype(w.dtype)
  return traverse_util.unflatten_dict(flat)
