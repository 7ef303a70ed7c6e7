"""Checkpoints, by Orbax: training state with the position in the data.

A checkpoint is written under a temporary name and renamed when it is whole,
so a run killed at any time finds the last whole one.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any, NamedTuple

from etils import epath
import jax
import orbax.checkpoint as ocp


class Restored(NamedTuple):
  """A checkpoint that was read.

  Attributes:
    step: number of updates done.
    state: pytree of arrays.
    position: JSON, where the data iterator stood.
  """

  step: int
  state: Any
  position: Any


class Manager:
  """The checkpoints of one training run.

  Args:
    folder: their folder, with one folder a step.
    keep: how many of the newest are kept.
  """

  def __init__(self, folder: str | os.PathLike, keep: int = 2):
    self._folder = pathlib.Path(folder).absolute()
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=True, enable_async_checkpointing=True)
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def save(self, step: int, state: Any, position: Any) -> None:
    """Starts to write; returns once the arrays are copied.

    Args:
      step: number of updates done.
      state: pytree of arrays.
      position: JSON, where the data iterator stands.

    Raises:
      OSError: an earlier write failed (a full disk, for one).
    """
    self._manager.save(step, args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        position=ocp.args.JsonSave(position)), force=True)

  def restore(self, abstract_state: Any) -> Restored | None:
    """Reads the newest checkpoint; returns None if there is none.

    Args:
      abstract_state: a tree of `jax.ShapeDtypeStruct`s with shardings; arrays
        are read straight into them.

    Raises:
      ValueError: the checkpoint is of another model, or cannot be read.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    folder = self._folder / str(step)
    _check_shapes(folder / 'state', abstract_state)
    try:
      items = self._manager.restore(step, args=ocp.args.Composite(
          state=ocp.args.StandardRestore(abstract_state),
          position=ocp.args.JsonRestore()))
    except Exception as e:
      raise ValueError(_unreadable(folder, e)) from e
    return Restored(step, items['state'], items['position'])

  def close(self) -> None:
    """Waits until everything is written."""
    self._manager.wait_until_finished()
    self._manager.close()


def save_params(folder: str | os.PathLike, params: Any) -> None:
  """Writes parameters alone, for later stages; replaces older ones."""
  with ocp.StandardCheckpointer() as writer:
    writer.save(pathlib.Path(folder).absolute(), params, force=True)


def load_params(folder: str | os.PathLike, abstract: Any) -> Any:
  """Reads parameters into the shapes and shardings of `abstract`.

  Raises:
    ValueError: none there, of another model, or unreadable.
  """
  folder = pathlib.Path(folder).absolute()
  if not folder.is_dir():
    raise ValueError(f'No parameters at {folder}: has that stage finished?')
  _check_shapes(folder, abstract)
  try:
    with ocp.StandardCheckpointer() as reader:
      return reader.restore(folder, abstract)
  except Exception as e:
    raise ValueError(_unreadable(folder, e)) from e


def _check_shapes(folder: pathlib.Path, abstract: Any) -> None:
  """Raises ValueError naming the leaves in which a checkpoint differs."""
  try:
    with ocp.StandardCheckpointer() as reader:
      stored = reader.metadata(epath.Path(folder)).item_metadata
      stored = getattr(stored, 'tree', stored)
  except Exception as e:
    raise ValueError(_unreadable(folder, e)) from e
  have, want = _shapes(stored), _shapes(abstract)
  if not have:
    raise ValueError(_unreadable(folder, ValueError('no metadata')))
  off = [f'{name}: checkpoint {have.get(name, "lacks it")}, model '
         f'{want.get(name, "lacks it")}'
         for name in sorted({*have, *want}) if have.get(name) != want.get(name)]
  if off:
    raise ValueError(
        f'The checkpoint {folder} is of another model, {len(off)} arrays '
        f'differ: {"; ".join(off[:4])}. Use the config.model it was made with, '
        'or another workdir.')


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {'/'.join(str(getattr(p, 'key', getattr(p, 'name', getattr(
      p, 'idx', p)))) for p in path): tuple(leaf.shape)
          for path, leaf in leaves}


def _unreadable(folder: pathlib.Path, error: Exception) -> str:
  first = (str(error).strip().splitlines() or [type(error).__name__])[0]
  return (f'The checkpoint {folder} cannot be read ({first[:160]}): delete '
          'that folder to go on from the one before, or start over.')
