"""Which parameters of a model are trained: all of them, or adapters."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, NamedTuple

import jax

from agentrl.models import lora


@dataclasses.dataclass(frozen=True)
class Lora:
  """Low-rank adapters (arXiv:2106.09685), or full fine-tuning.

  Attributes:
    rank: rank of the adapters; 0 trains every parameter.
    alpha: adapters are scaled by alpha / rank, so that the learning rate need
      not follow the rank.
    targets: regular expression over parameter paths; see `models.lora.init`.
  """

  rank: int
  alpha: float
  targets: str


class Partition(NamedTuple):
  """Splits the parameters of a model into trained and frozen ones.

  Attributes:
    trained: params -> trained parameters, freshly made if they are adapters.
    frozen: params -> frozen parameters, () if there are none.
    combine: (trained, frozen) -> params as the loss takes them.
    merge: (trained, frozen) -> params of a plain model.
    needs_base: whether frozen parameters must be read again on a restart, as
      checkpoints hold only the trained ones.
  """

  trained: Callable[[Any], Any]
  frozen: Callable[[Any], Any]
  combine: Callable[[Any, Any], Any]
  merge: Callable[[Any, Any], Any]
  needs_base: bool


FULL = Partition(
    trained=lambda params: params, frozen=lambda params: (),
    combine=lambda params, _: params, merge=lambda params, _: params,
    needs_base=False)


def make(key: jax.Array, *, rank: int, alpha: float, targets: str) -> Partition:
  """Returns the partition of full fine-tuning, or that of low-rank adapters.

  Args:
    key: random key of fresh adapters.
    rank: see `Lora`.
    alpha: see `Lora`.
    targets: see `Lora`.

  Raises:
    ValueError: the rank is no natural number, or alpha is not above 0.
  """
  if type(rank) is not int or rank < 0:
    raise ValueError(f'lora.rank must be 0 (full fine-tuning) or a positive '
                     f'integer, got {rank!r}.')
  if rank == 0:
    return FULL
  if not alpha > 0:
    raise ValueError(f'lora.alpha must be above 0, got {alpha!r}.')
  scale = alpha / rank
  return Partition(
      trained=functools.partial(lora.init, key=key, rank=rank, targets=targets),
      frozen=lambda params: params,
      combine=lambda adapters, params: lora.join(params, adapters, scale),
      merge=jax.jit(
          lambda adapters, params: lora.merge(params, adapters, scale)),
      needs_base=True)
