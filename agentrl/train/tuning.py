"""What of a model is trained: all of it, or adapters beside it."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax

from agentrl.models import lora


class Tuning(NamedTuple):
  """How parameters become what is trained, and how they come back.

  Attributes:
    init: params -> what is trained.
    frozen: params -> what is not, () if nothing.
    join: (trained, frozen) -> params, as the loss takes them.
    merge: (trained, frozen) -> params of a plain model.
  """

  init: Callable[[Any], Any]
  frozen: Callable[[Any], Any]
  join: Callable[[Any, Any], Any]
  merge: Callable[[Any, Any], Any]


FULL = Tuning(init=lambda params: params, frozen=lambda params: (),
              join=lambda params, _: params, merge=lambda params, _: params)


def make(key: jax.Array, *, rank: int, alpha: float, targets: str) -> Tuning:
  """Full fine-tuning, or low-rank adapters.

  Args:
    key: of fresh adapters.
    rank: of the adapters; 0: full fine-tuning.
    alpha: adapters count alpha / rank times, so that the learning rate need
      not follow the rank.
    targets: see `models.lora.init`.

  Raises:
    ValueError: a rank or an alpha that makes no sense.
  """
  if type(rank) is not int or rank < 0:
    raise ValueError(f'lora.rank must be 0 (full fine-tuning) or a positive '
                     f'integer, got {rank!r}.')
  if rank == 0:
    return FULL
  if not alpha > 0:
    raise ValueError(f'lora.alpha must be above 0, got {alpha!r}.')
  scale = alpha / rank
  return Tuning(
      init=functools.partial(lora.init, key=key, rank=rank, targets=targets),
      frozen=lambda params: params,
      join=lambda adapters, params: lora.join(params, adapters, scale),
      merge=jax.jit(
          lambda adapters, params: lora.merge(params, adapters, scale)))
