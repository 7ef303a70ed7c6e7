"""Reads published weights from safetensors and GGUF, writes safetensors.

Tensors are read one by one, each put onto its devices before the next: a host
holds one parameter at a time, for any size of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
import os
import pathlib
import re
import shutil
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from agentrl import files
from agentrl import resolve
from agentrl.models import config as model_config
from agentrl.models import families
from agentrl.models import gguf_names
from agentrl.models import layouts

TYPES = ('F64', 'F32', 'F16', 'BF16')  # types of safetensors that are read
GGUF_TYPES = ('F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q4_K', 'Q6_K')
_SHARD_BYTES = 4 << 30  # most bytes of a file that is written
_NO_WEIGHTS = re.compile(r'rotary_emb\.inv_freq$')  # in old files; computed
# Remedies where the output head is the only fault; a GGUF file never has it.
_HEAD = {
    ('missing', 'lm_head.weight'): 'set tie_word_embeddings to true in '
    'config.json if the output head is the embedding.',
    ('unused', 'lm_head.weight'): 'set tie_word_embeddings to false in '
    'config.json.'}
_INDEX = 'model.safetensors.index.json'


class Tensors(Protocol):
  """A published model: the fields of config.json, and tensors by their names.

  Attributes:
    fields: fields of config.json.
    where: name of their source, for errors.
    shapes: shapes of the tensors by name.
    mend: remedy for tensors that are missing, unused, of another shape.
  """

  fields: Mapping[str, Any]
  where: str
  shapes: Mapping[str, tuple[int, ...]]
  mend: Mapping[str, str]

  def get(self, name: str) -> np.ndarray:
    """Reads one tensor."""


def read_config(source: str | os.PathLike, **changes: Any
                ) -> model_config.ModelConfig:
  """Reads the shape of published weights.

  Args:
    source: see `read`.
    **changes: fields of ModelConfig, see `families.from_hf`.

  Raises:
    ValueError: as `read`.
  """
  tensors = _open(source)
  return families.from_hf(tensors.fields, tensors.where, **changes)


def read(source: str | os.PathLike,
         shardings: Callable[[Any], Any] | None = None, **changes: Any
         ) -> tuple[model_config.ModelConfig, Any]:
  """Reads published weights.

  Args:
    source: a folder with config.json and safetensors, in one file or with an
      index; or a GGUF file.
    shardings: maps the tree of shapes to one of shardings, as
      `functools.partial(sharding.shardings, mesh=mesh)`; None: all on one
      device.
    **changes: fields of ModelConfig, as `param_dtype`; see `families.from_hf`.

  Returns:
    (config, params), params in `config.param_dtype`.

  Raises:
    ValueError: the source cannot be read, is of no known family, or its
      tensors are not exactly those of its config. Nothing large was allocated.
  """
  tensors = _open(source)
  config = families.from_hf(tensors.fields, tensors.where, **changes)
  slices = layouts.param_slices(config)
  _check(tensors, slices, source)
  like = layouts.shapes(config)
  sizes = {path: x.shape for path, x in layouts.flat(like).items()}
  places = dict.fromkeys(sizes)
  if shardings is not None:
    places = layouts.flat(shardings(like))
  leaves = {}
  for part in slices:
    theirs = [tensors.get(name) for name in part.theirs]
    array = part.layout.join(config, theirs).astype(config.param_dtype)
    place = places[part.path]
    if not part.at:
      leaves[part.path] = _put(array, place)
    else:
      leaves[part.path] = _put_at(
          leaves.get(part.path), array, part.at, sizes[part.path], place)
  return config, jax.tree.unflatten(
      jax.tree.structure(like), [leaves[path] for path in sizes])


def _put(array: np.ndarray, place: jax.sharding.Sharding | None) -> jax.Array:
  if place is None:
    return jnp.asarray(array)
  return jax.make_array_from_callback(array.shape, place, lambda i: array[i])


def _put_at(stack: jax.Array | None, array: np.ndarray, at: tuple[int, ...],
            shape: tuple[int, ...], place: jax.sharding.NamedSharding | None
            ) -> jax.Array:
  """Writes a layer or an expert into a stack, in the stack's memory."""
  if stack is None:
    stack = jax.jit(lambda: jnp.zeros(shape, array.dtype),
                    out_shardings=place)()
  one = place and jax.sharding.NamedSharding(
      place.mesh, jax.sharding.PartitionSpec(*place.spec[len(at):]))
  return _setter(place)(stack, _put(array, one), at)


@functools.cache
def _setter(place: jax.sharding.NamedSharding | None) -> Callable[..., Any]:
  def put(stack, one, at):
    # Not `stack.at[at]`: where experts lie on several devices, that scatters.
    return jax.lax.dynamic_update_slice(
        stack, jnp.expand_dims(one, range(len(at))), at + (0,) * one.ndim)
  return jax.jit(put, donate_argnums=0, out_shardings=place)


def _check(tensors: Tensors, slices: list[layouts.ParamSlice],
           source: str | os.PathLike) -> None:
  """Raises ValueError with all tensors that do not fit the config."""
  shapes = tensors.shapes
  want = {name: shape for part in slices
          for name, shape in part.theirs.items()}
  missing = sorted(want.keys() - shapes.keys())
  unused = sorted(name for name in shapes.keys() - want.keys()
                  if not _NO_WEIGHTS.search(name))
  off = [f'{name} has {shapes[name]}, needs {want[name]}'
         for name in sorted(want.keys() & shapes.keys())
         if shapes[name] != want[name]]
  faults = {'missing': missing, 'unused': unused, 'of another shape': off}
  words = [f'{len(names)} {fault} ({"; ".join(names)}): '
           + _HEAD.get((fault, *names), tensors.mend[fault])
           for fault, names in faults.items() if names]
  if words:
    raise ValueError(f'The tensors of {source} are not those of its config: '
                     + ' '.join(words))


def _open(source: str | os.PathLike) -> Tensors:
  source = pathlib.Path(source)
  if source.is_dir():
    return _Folder(source)
  if source.is_file() and source.suffix == '.gguf':
    return _Gguf(source)
  raise ValueError(f'No weights at {source}: give a folder with config.json '
                   'and safetensors, or a .gguf file.')


def _check_types(path: pathlib.Path, types: Mapping[str, str],
                 known: Sequence[str]) -> None:
  """Raises ValueError with every tensor of a type that is not read."""
  if unknown := sorted(f'{name} ({kind})' for name, kind in types.items()
                       if kind not in known):
    raise ValueError(f'{path} has tensors of types that are not read: '
                     f'{", ".join(unknown)}. Get weights of '
                     f'{", ".join(known)}.')


class _Folder:
  """A folder of safetensors; files are mapped, not read."""

  where = 'config.json'
  mend = {
      'missing': 'get all files of the model again, or the config.json that '
                 'belongs to them.',
      'unused': 'model_type or num_hidden_layers of config.json are those of '
                'another model, or it has parts (adapters, vision) that must '
                'be merged or taken out first.',
      'of another shape': 'correct the sizes in config.json.'}

  def __init__(self, folder: pathlib.Path):
    self.fields = files.read_json(folder / 'config.json')
    self.shapes, self._file, types = {}, {}, {}
    for path in _files(folder):
      file = _safetensors(path)
      for name in file.keys():  # noqa: SIM118 (it is no dictionary)
        part = file.get_slice(name)
        self.shapes[name] = tuple(part.get_shape())
        self._file[name], types[name] = file, part.get_dtype()
    _check_types(folder, types, TYPES)

  def get(self, name: str) -> np.ndarray:
    return self._file[name].get_tensor(name)


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Lists the files of a model, by its index where it has one."""
  if not (folder / _INDEX).exists():
    paths = [folder / 'model.safetensors']
  else:
    index = files.read_json(folder / _INDEX)
    if not isinstance(index, dict) or not isinstance(
        index.get('weight_map'), dict):
      raise ValueError(f'{folder / _INDEX} has no weight_map, which says what '
                       'file holds a tensor: get it again.')
    paths = [folder / name for name in sorted({*index['weight_map'].values()})]
  if absent := [path.name for path in paths if not path.exists()]:
    raise ValueError(f'{folder} lacks {", ".join(absent)}: get these files of '
                     'the model too.')
  return paths


def _safetensors(path: pathlib.Path) -> Any:
  safetensors = resolve.extra('safetensors', 'hf')
  try:
    return safetensors.safe_open(path, framework='np')
  except safetensors.SafetensorError as e:
    raise ValueError(f'{path} is truncated, or no safetensors file ({e}): get '
                     'it again.') from e


class _Gguf:
  """The tensors of a GGUF file, under the names of safetensors."""

  mend = {
      'missing': 'get the file again, or one that holds the whole model.',
      'unused': 'it has parts (adapters, vision) that are not read, or its '
                'metadata are those of another model: get another file.',
      'of another shape': 'its metadata are those of another model: get '
                          'another file.'}

  def __init__(self, path: pathlib.Path):
    gguf = resolve.extra('gguf', 'hf')
    self.where = f'the metadata of {path.name}'
    reader = _gguf_reader(gguf, path)
    _check_types(path, {x.name: x.tensor_type.name for x in reader.tensors},
                 GGUF_TYPES)
    about = {key: x.contents() for key, x in reader.fields.items()
             if not key.startswith('tokenizer.')}
    if (parts := about.get('split.count', 1)) > 1:
      raise ValueError(f'{path} is one of {parts} parts of a model: merge them '
                       'into one file first (llama-gguf-split --merge).')
    kind = about.get('general.architecture')
    tensors = {gguf_names.name_of(x.name, kind): x for x in reader.tensors}
    freqs = tensors.pop('rope_freqs.weight', None)
    self._dequantize = gguf.dequantize
    self._places = {}  # name: (tensor, index in it)
    for name, x in tensors.items():
      experts = [(i,) for i in range(x.shape[-1])] if '*' in name else [()]
      self._places |= {name.replace('*', ''.join(map(str, at))): (x, at)
                       for at in experts}
    # GGUF counts dimensions from the last.
    self.shapes = {name: tuple(int(n) for n in reversed(x.shape))[len(at):]
                   for name, (x, at) in self._places.items()}
    self.fields = gguf_names.fields_of(about, self.shapes)
    if freqs is not None:
      self.fields['rope_scaling'] = gguf_names.scaling_of(
          np.asarray(freqs.data, np.float32), self.fields)

  def get(self, name: str) -> np.ndarray:
    tensor, at = self._places[name]
    return gguf_names.tensor_of(
        self.fields, name,
        self._dequantize(tensor.data[at], tensor.tensor_type))


def _gguf_reader(gguf: Any, path: pathlib.Path) -> Any:
  """Opens a file by the package's reader, which maps it; errors name the
  tensor."""
  class Reader(gguf.GGUFReader):

    def _build_tensors(self, start: int, fields: list[Any]) -> None:
      for field in fields:
        number = int(field.parts[4][0])
        try:
          kind = gguf.GGMLQuantizationType(number).name
        except ValueError:
          raise ValueError(f'tensor {field.name} is of type {number}, which '
                           'the package gguf does not know') from None
        try:
          super()._build_tensors(start, [field])
        except (ValueError, IndexError, OverflowError) as e:
          raise ValueError(f'tensor {field.name} ({kind}) lies past its end: '
                           f'{e}') from e
      super()._build_tensors(start, fields)

  try:
    return Reader(path)
  except (ValueError, IndexError, KeyError, OverflowError) as e:
    raise ValueError(f'{path} is truncated, no GGUF file, or newer than the '
                     f'package gguf ({e}): get it again, or another '
                     'quantisation.') from e


def write(folder: str | os.PathLike, config: model_config.ModelConfig,
          params: Any, *, fields: Mapping[str, Any] | None = None,
          shard_bytes: int = _SHARD_BYTES) -> None:
  """Writes safetensors and config.json, as `transformers` loads them.

  Args:
    folder: a new folder; it appears when it is whole.
    config: shape of the model.
    params: parameters of the model.
    fields: further fields of config.json, as `eos_token_id`.
    shard_bytes: most bytes of one file, unless one parameter alone has more.

  Raises:
    ValueError: the folder exists, or no published family has this shape.
  """
  folder = pathlib.Path(folder)
  if folder.exists():
    raise ValueError(f'{folder} exists: delete it, or choose another.')
  about = {**families.to_hf(config), **(fields or {})}
  leaves = layouts.flat(params)
  groups = list(_groups(layouts.param_slices(config), leaves, shard_bytes))
  temporary = folder.with_name(folder.name + '.tmp')
  shutil.rmtree(temporary, ignore_errors=True)
  temporary.mkdir(parents=True)
  where = {}
  for i, group in enumerate(groups):
    name = ('model.safetensors' if len(groups) == 1 else
            f'model-{i + 1:05}-of-{len(groups):05}.safetensors')
    where.update(dict.fromkeys(
        _write_file(temporary / name, config, group, leaves), name))
  if len(groups) > 1:
    total = sum(x.nbytes for x in leaves.values())
    files.write_json(temporary / _INDEX, {
        'metadata': {'total_size': total}, 'weight_map': where})
  files.write_json(temporary / 'config.json', about)
  temporary.rename(folder)


def _groups(slices: list[layouts.ParamSlice], leaves: Mapping[str, jax.Array],
            most: int) -> Iterator[list[layouts.ParamSlice]]:
  """Yields the slices of each file."""
  group, total = [], 0
  for part in slices:
    size = int(np.prod(part.shape)) * leaves[part.path].dtype.itemsize
    if group and total + size > most:
      yield group
      group, total = [], 0
    group.append(part)
    total += size
  yield group


def _write_file(path: pathlib.Path, config: model_config.ModelConfig,
                slices: list[layouts.ParamSlice],
                leaves: Mapping[str, jax.Array]) -> list[str]:
  """Writes the tensors of some slices; returns their names."""
  save_file = resolve.extra('safetensors.numpy', 'hf').save_file
  tensors = {}
  for part in slices:
    leaf = leaves[part.path]
    array = np.asarray(leaf[part.at])
    for name, x in zip(part.theirs, part.layout.split(config, array)):
      tensors[name] = np.ascontiguousarray(x)
  save_file(tensors, path, metadata={'format': 'pt'})
  return list(tensors)
