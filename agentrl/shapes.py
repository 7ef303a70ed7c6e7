"""Checks array shapes by the letters of their names."""

from typing import Any


def check(**arrays: Any) -> None:
  """Checks that each letter after a name's last underscore is one size.

  `check(logp_BT=x, adv_B=y)` requires two axes of x, one of y, and the same B.

  Args:
    **arrays: arrays, or shapes as of `jax.eval_shape`, by their names.

  Raises:
    ValueError: an array has another number of axes, or a letter two sizes.
  """
  sizes: dict[str, tuple[str, int]] = {}
  for name, array in arrays.items():
    letters = name.rpartition('_')[2]
    if len(array.shape) != len(letters):
      raise ValueError(f'{name} has shape {array.shape}: expected the axes '
                       f'{", ".join(letters)}.')
    for letter, size in zip(letters, array.shape):
      first, known = sizes.setdefault(letter, (name, size))
      if known != size:
        raise ValueError(f'Axis {letter} is {known} in {first} but {size} in '
                         f'{name}.')
