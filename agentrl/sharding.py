"""Meshes, and the mesh axes that each parameter is sharded over.

Parameters get their axes by regex rules over their paths; trees shaped like
the parameters (optimiser state) inherit them. Axes of size 1 cost nothing, so
one program serves a laptop and a pod.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import math
import re
from typing import Any

import jax
from jax.experimental import mesh_utils

from agentrl.models import mesh as mesh_lib

P = jax.sharding.PartitionSpec
AXES = ('data', 'fsdp', 'tensor', 'expert')
PARTS = P(None, mesh_lib.ROWS)  # parts of a batch, rows of a part

# The first match wins; specs align with the last axes of the parameter, since
# a scanned layer has one more axis in front.
RULES: tuple[tuple[str, P], ...] = (
    # Adafactor's means over one axis of a parameter are small, and the axis
    # depends on the sizes.
    (r'v_(row|col)/', P()),
    (r'(embed|head)$', P('tensor', 'fsdp')),  # V D
    (r'qkv/kernel$', P('fsdp', 'tensor', None)),  # D M H
    (r'qkv/bias$', P('tensor', None)),  # M H
    (r'out/kernel$', P('tensor', 'fsdp')),  # NH D
    (r'router/kernel$', P('fsdp', None)),  # D E
    (r'moe/up/kernel$', P('expert', 'fsdp', None, 'tensor')),  # E D 2 F
    (r'moe/down/kernel$', P('expert', 'tensor', 'fsdp')),  # E F D
    (r'up/kernel$', P('fsdp', None, 'tensor')),  # D 2 F
    (r'down/kernel$', P('tensor', 'fsdp')),  # F D
    (r'smear/kernel$', P('fsdp', 'tensor')),  # D D
    (r'scale$', P(None)),
    # Adapters are sharded as their kernels; the rank is never split.
    (r'(qkv|smear)/lora_a$', P('fsdp', None)),  # D R
    (r'up/lora_a$', P('fsdp', None, None)),  # D 2 R
    (r'(out|down)/lora_a$', P('tensor', None)),  # NH R, F R
    (r'qkv/lora_b$', P(None, 'tensor', None)),  # R M H
    (r'up/lora_b$', P(None, None, 'tensor')),  # R 2 F
    (r'smear/lora_b$', P(None, 'tensor')),  # R D
    (r'(out|down)/lora_b$', P(None, 'fsdp')),  # R D
)


@dataclasses.dataclass(frozen=True)
class Axes:
  """Sizes of the axes of a mesh: the sections `mesh` of a config."""

  data: int
  fsdp: int
  tensor: int
  expert: int


def make_mesh(axes: Mapping[str, int] | Axes,
              devices: Sequence[jax.Device] | None = None, *,
              field: str = 'config.mesh') -> jax.sharding.Mesh:
  """Makes a mesh over the first `prod(axes)` devices.

  On TPU neighbours along an axis are neighbours in the torus, if its shape
  allows it.

  Args:
    axes: sizes by name; `expert` may be absent.
    devices: devices to choose from; None takes all.
    field: config field or flag that gives the sizes, for errors.

  Raises:
    ValueError: unknown axes, sizes below 1, or more devices than there are.
  """
  if isinstance(axes, Axes):
    axes = dataclasses.asdict(axes)
  if set(axes) | {'expert'} != set(AXES):
    raise ValueError(f'{field} must give {", ".join(AXES)}, got '
                     f'{sorted(axes)}.')
  for name, size in axes.items():
    if type(size) is not int or size < 1:
      raise ValueError(f'{field}.{name} must be an integer of at least 1, got '
                       f'{size!r}: 1 leaves an axis unused.')
  axes = {'expert': 1, **axes}
  sizes = [axes[name] for name in AXES]
  devices = jax.devices() if devices is None else devices
  need, have = math.prod(sizes), len(devices)
  if need > have:
    raise ValueError(
        f'{field} {dict(axes)} needs {need} devices, but there are {have} '
        f'({devices[0].platform}): set axes whose product is at most {have}.')
  grid = mesh_utils.create_device_mesh(sizes, devices[:need],
                                       allow_split_physical_axes=True)
  return jax.sharding.Mesh(grid, AXES)


def replica(mesh: jax.sharding.Mesh) -> jax.sharding.Mesh:
  """Returns the first slice of a mesh along `data`."""
  return replicas(mesh)[0]


def replicas(mesh: jax.sharding.Mesh) -> list[jax.sharding.Mesh]:
  """Returns the slices of a mesh along `data`; a sampler runs on each."""
  return [jax.sharding.Mesh(part[None], AXES) for part in mesh.devices]


def check(model: Any, mesh: jax.sharding.Mesh, *, field: str = 'config.mesh',
          name: str = 'config.model') -> None:
  """Raises ValueError unless the mesh divides the heads and experts.

  Args:
    model: the `ModelConfig`.
    mesh: mesh to shard it over.
    field: config field that gives the mesh, for the error.
    name: config field that gives the model, for the error.
  """
  for axis, count in (('tensor', 'num_heads'), ('tensor', 'num_kv_heads'),
                      ('expert', 'num_experts')):
    ways, size = mesh.shape[axis], getattr(model, count)
    if size % ways:  # without experts `expert` is more of `data`
      raise ValueError(
          f'{field}.{axis}={ways} does not divide {count}={size} of {name}: '
          f'set it to {math.gcd(ways, size)}, or to another divisor.')


def on(mesh: jax.sharding.Mesh | None
      ) -> contextlib.AbstractContextManager[None]:
  """Returns a context that gives traced code its mesh; experts need it.

  It is entered within the traced function, so it holds wherever that is traced:
  in a loop, in a thread that warms up, for devices of another machine.
  """
  if mesh is None:
    return contextlib.nullcontext()
  return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def _spec(path: str, shape: tuple[int, ...], mesh: jax.sharding.Mesh) -> P:
  for pattern, spec in RULES:
    if re.search(pattern, path) and len(spec) <= len(shape):
      full = (None,) * (len(shape) - len(spec)) + tuple(spec)
      for size, axis in zip(shape, full):
        if axis and size % mesh.shape[axis]:
          raise ValueError(
              f'Parameter {path} of shape {shape} does not divide over mesh '
              f'axis {axis!r} of {mesh.shape[axis]}: choose sizes of the model '
              'that it divides, or a smaller axis.')
      return P(*full)
  return P()


def shardings(tree: Any, mesh: jax.sharding.Mesh) -> Any:
  """Returns the NamedSharding of each leaf of a tree of arrays or shapes.

  Optimiser states hold trees like the parameters', so the ends of their paths
  match the same rules; counters match none and are replicated.

  Raises:
    ValueError: the mesh axes do not divide a parameter.
  """
  def of(path, leaf):
    name = '/'.join(str(getattr(p, 'key', getattr(p, 'name', p)))
                    for p in path)
    return jax.sharding.NamedSharding(mesh, _spec(name, leaf.shape, mesh))
  return jax.tree_util.tree_map_with_path(of, tree)


def abstract(make: Callable[[], Any], mesh: jax.sharding.Mesh) -> Any:
  """Returns the shapes and shardings of a function's result, not computed."""
  shapes = jax.eval_shape(make)
  return jax.tree.map(
      lambda x, sharding: jax.ShapeDtypeStruct(
          x.shape, x.dtype, sharding=sharding),
      shapes, shardings(shapes, mesh))


def batch(mesh: jax.sharding.Mesh, micro_rows: int
         ) -> jax.sharding.NamedSharding:
  """Returns the sharding of a batch in parts [M, B, ..]: rows are sharded over
  the axes `models.mesh.ROWS`.

  Raises:
    ValueError: the rows of one part do not divide over them.
  """
  ways = math.prod(mesh.shape[axis] for axis in mesh_lib.ROWS)
  if micro_rows % ways:
    axes = ', '.join(mesh_lib.ROWS)
    raise ValueError(
        f'config.micro_rows={micro_rows} does not divide over the {ways} '
        f'devices of mesh axes {axes}: set it to a multiple of {ways}.')
  return jax.sharding.NamedSharding(mesh, PARTS)


def replicated(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Returns the sharding of arrays that every device has whole."""
  return jax.sharding.NamedSharding(mesh, P())
