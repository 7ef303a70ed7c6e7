"""A model that can be run: parameters, shape, vocabulary.

A training stage leaves one in its folder; published weights are one too.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Annotated, Any

import jax
import numpy as np

from agentrl import checkpoint
from agentrl import files
from agentrl import resolve
from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.models import weights
from agentrl.stage import fields
from agentrl.stage import inputs
from agentrl.tokenizer import hf
from agentrl.tokenizer import vocab as vocab_lib

# Fields that may be changed of a trained model. The first only of published
# ones: a stage stores the parameters of its layers either stacked or apart.
FREE = ('scan_layers', 'dtype', 'param_dtype', 'remat', 'attention', 'experts',
        'max_length', 'router_aux_coef')
# Section of a config with fields of a model.
ModelFields = Annotated[Mapping[str, Any],
                        fields.SomeOf(model_config.ModelConfig)]


@dataclasses.dataclass(frozen=True)
class Description:
  """A model whose parameters have not been read.

  Attributes:
    source: its folder or file, resolved.
    stored: shape that it is stored in.
    model: shape that it is to be used in.
    vocab: its vocabulary.
  """

  source: inputs.Input
  stored: model_config.ModelConfig
  model: model_config.ModelConfig
  vocab: vocab_lib.AnyVocab


@dataclasses.dataclass(frozen=True)
class Bundle:
  """A model that can be run.

  Attributes:
    model: its shape.
    vocab: its vocabulary.
    params: its parameters, on the mesh.
    digest: hash of the parameters; for published weights, of their files.
  """

  model: model_config.ModelConfig
  vocab: vocab_lib.AnyVocab
  params: Any
  digest: str


def save(folder: str | os.PathLike, model: model_config.ModelConfig,
         vocab: vocab_lib.AnyVocab, params: Any) -> dict[str, str]:
  """Writes a bundle and returns its hashes, for the manifest."""
  folder = pathlib.Path(folder)
  checkpoint.save_params(folder / 'params', params)
  vocab.save(folder / 'vocab.model')
  files.write_json(folder / 'model.json', dataclasses.asdict(model))
  return {'params': digest(params)}


def describe(source: inputs.Input, changes: Mapping[str, Any] | None = None
            ) -> Description:
  """Reads the shape and the vocabulary of a model, but not its parameters.

  Args:
    source: a training stage, or published weights.
    changes: fields of its ModelConfig to be changed, out of `FREE`.

  Raises:
    ValueError: the stage trains no model, a change is not allowed, or the
      embedding has fewer rows than the vocabulary.
  """
  published = source.manifest is None
  if published:
    stored, vocab = weights.read_config(source.path), hf.read(source.path)
  else:
    if 'params' not in source.manifest['made']:
      raise ValueError(f'{source.label} is a finished stage, but not one that '
                       'trains a model.')
    # Activations were recomputed to save memory in training, not in its use.
    stored = model_config.make({
        **files.read_json(source.path / 'model.json'), 'remat': 'none'})
    vocab = vocab_lib.load(source.path / 'vocab.model')
  if vocab.size > stored.vocab_size:
    raise ValueError(f'The vocabulary of {source.label} has {vocab.size} ids, '
                     f'but its embedding {stored.vocab_size} rows: they are '
                     'not of the same model.')
  own, changes = dataclasses.asdict(stored), dict(changes or {})
  resolve.check(model_config.ModelConfig, {**own, **changes})
  free = FREE if published else FREE[1:]
  if off := {k: (own[k], v) for k, v in changes.items()
             if v != own[k] and k not in free}:
    raise ValueError(
        f'{source.label} is of another model than config.model '
        f'(field: its value, config.model): {off}. Leave these out; only '
        f'{", ".join(free)} may be others.')
  return Description(source, stored, model_config.make({**own, **changes}),
                     vocab)


def load(described: Description, mesh: jax.sharding.Mesh) -> Bundle:
  """Reads the parameters of a model onto a mesh.

  Raises:
    ValueError: the parameters do not fit their shape, the manifest or the
      mesh.
  """
  source, model, vocab = described.source, described.model, described.vocab
  sharding.check(model, mesh)
  if source.manifest is None:
    _, params = weights.read(
        source.path, functools.partial(sharding.shardings, mesh=mesh),
        **{name: getattr(model, name) for name in FREE})
    return Bundle(model, vocab, params, source.digest)
  abstract = sharding.abstract(functools.partial(
      transformer.init, described.stored, jax.random.key(0)), mesh)
  params = checkpoint.load_params(source.path / 'params', abstract)
  read, written = digest(params), source.manifest['made']['params']
  if read != written:
    raise ValueError(f'The parameters in {source.path} are not those that its '
                     f'manifest names ({read}, not {written}): delete '
                     'the folder and run its stage again.')
  params = jax.tree.map(lambda x: x.astype(model.param_dtype), params)
  return Bundle(model, vocab, params, read)


def read(source: str | os.PathLike, mesh: jax.sharding.Mesh, field: str,
         changes: Mapping[str, Any] | None = None) -> Bundle:
  """Finds, describes and loads a model; see `inputs.resolve` and `describe`."""
  return load(describe(inputs.resolve(source, field), changes), mesh)


def digest(params: Any) -> str:
  """Hashes the name and the bytes of every parameter."""
  sha = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    sha.update(jax.tree_util.keystr(path).encode())
    sha.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
  return sha.hexdigest()[:16]
