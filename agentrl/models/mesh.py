"""What the decoder knows of the mesh it is traced for, see `sharding.on`."""

from __future__ import annotations

import math

import jax

P = jax.sharding.PartitionSpec
ROWS = ('data', 'fsdp', 'expert')  # axes that the rows of a batch lie on


def current() -> jax.sharding.AbstractMesh | None:
  """The mesh that is set; None if it is none, or of one device."""
  mesh = jax.sharding.get_abstract_mesh()
  return mesh if mesh.size > 1 else None  # 0: no mesh


def divides(mesh: jax.sharding.AbstractMesh, rows: int) -> bool:
  """Whether so many rows can lie on `ROWS`; those of a sampler may be few."""
  return rows % math.prod(mesh.shape[axis] for axis in ROWS) == 0


def spread(mesh: jax.sharding.AbstractMesh, rows: int, tokens: int) -> P:
  """Where states between layers lie: rows on `ROWS`, their tokens on `tensor`,
  so that no device keeps what its neighbours keep; each where it divides.

  Source: sequence parallelism, arXiv:2205.05198 section 4.2.2.
  """
  return P(ROWS if divides(mesh, rows) else None,
           None if tokens % mesh.shape['tensor'] else 'tensor')


def by_tokens(x_BTD: jax.Array) -> jax.Array:
  """States as `spread` says; left to itself, the partitioner may cut features
  as the parameters are cut, and move all of them in each layer."""
  mesh = current()
  if mesh is None or not divides(mesh, x_BTD.shape[0]):
    return x_BTD
  return _at(mesh, x_BTD, spread(mesh, *x_BTD.shape[:2]))


def by_rows(x_BTD: jax.Array) -> jax.Array:
  """States with whole rows on `ROWS`: what is cut by heads or by features over
  `tensor` reads all tokens."""
  mesh = current()
  if mesh is None or not divides(mesh, x_BTD.shape[0]):
    return x_BTD
  return _at(mesh, x_BTD, P(ROWS))


def by_words(embed_VD: jax.Array) -> jax.Array:
  """An embedding with its words on `tensor` and whole features: looked up by
  rows of ids, it gives rows of states."""
  mesh = current()
  return embed_VD if mesh is None else _at(mesh, embed_VD, P('tensor'))


def _at(mesh: jax.sharding.AbstractMesh, x: jax.Array, spec: P) -> jax.Array:
  return jax.lax.with_sharding_constraint(
      x, jax.sharding.NamedSharding(mesh, spec))
