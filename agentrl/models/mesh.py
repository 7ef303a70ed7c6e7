"""The mesh that the decoder is traced for (`sharding.on`): where states lie."""

from __future__ import annotations

import math

import jax

P = jax.sharding.PartitionSpec
ROWS = ('data', 'fsdp', 'expert')  # axes that the rows of a batch lie on


def current() -> jax.sharding.AbstractMesh | None:
  """Returns the mesh that is set; None if there is none, or one device."""
  mesh = jax.sharding.get_abstract_mesh()
  return mesh if mesh.size > 1 else None  # 0: no mesh


def divides(mesh: jax.sharding.AbstractMesh, rows: int) -> bool:
  """Tells whether `rows` divide over `ROWS`; a sampler may have too few."""
  return rows % math.prod(mesh.shape[axis] for axis in ROWS) == 0


def spread(mesh: jax.sharding.AbstractMesh, rows: int, tokens: int) -> P:
  """Returns the axes of states between layers: rows on `ROWS`, tokens on
  `tensor`, each where it divides, so that no device keeps another's copy.

  Source: sequence parallelism, arXiv:2205.05198 section 4.2.2.

  Args:
    mesh: mesh of the context.
    rows: number of rows, B.
    tokens: tokens of a row, T.
  """
  return P(ROWS if divides(mesh, rows) else None,
           None if tokens % mesh.shape['tensor'] else 'tensor')


def by_tokens(x_BTD: jax.Array) -> jax.Array:
  """Constrains states between layers to lie as `spread` says.

  Without it the partitioner may cut features as the parameters are cut, and
  move all of them in each layer.

  Source: sequence parallelism, arXiv:2205.05198 section 4.2.2.

  Args:
    x_BTD: states.

  Returns:
    x_BTD, unchanged where no mesh is set or its rows do not divide.
  """
  mesh = current()
  if mesh is None or not divides(mesh, x_BTD.shape[0]):
    return x_BTD
  return _at(mesh, x_BTD, spread(mesh, *x_BTD.shape[:2]))


def by_rows(x_BTD: jax.Array) -> jax.Array:
  """Constrains states to whole rows on `ROWS`: a product that is cut by heads
  or features over `tensor` reads all tokens.

  Source: tensor parallelism, Megatron-LM, arXiv:1909.08053 section 3.

  Args:
    x_BTD: states.

  Returns:
    x_BTD, unchanged where no mesh is set or its rows do not divide.
  """
  mesh = current()
  if mesh is None or not divides(mesh, x_BTD.shape[0]):
    return x_BTD
  return _at(mesh, x_BTD, P(ROWS))


def by_words(embed_VD: jax.Array) -> jax.Array:
  """Constrains an embedding to words on `tensor` and whole features: looked up
  by rows of ids, it gives rows of states.

  Source: tensor parallelism, Megatron-LM, arXiv:1909.08053 section 3.

  Args:
    embed_VD: embedding.

  Returns:
    embed_VD, unchanged where no mesh is set.
  """
  mesh = current()
  return embed_VD if mesh is None else _at(mesh, embed_VD, P('tensor'))


def _at(mesh: jax.sharding.AbstractMesh, x: jax.Array, spec: P) -> jax.Array:
  return jax.lax.with_sharding_constraint(
      x, jax.sharding.NamedSharding(mesh, spec))
