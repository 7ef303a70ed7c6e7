"""A model that can be run: parameters, their shape, their vocabulary.

A training stage hands one on as a folder; published weights are one too.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Any

import jax
import numpy as np

from agentrl import checkpoint
from agentrl import files
from agentrl import resolve
from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.models import weights
from agentrl.stage import runs
from agentrl.stage import sources
from agentrl.tokenizer import hf
from agentrl.tokenizer import vocab as vocab_lib

# What may be changed of a model that is there. Of our own stages not the first:
# their parameters are stored layer by layer, or not.
FREE = ('scan_layers', 'dtype', 'param_dtype', 'remat', 'attention', 'experts',
        'max_length', 'router_aux_coef')


@dataclasses.dataclass(frozen=True)
class Bundle:
  """A model that can be run.

  Attributes:
    model: its shape.
    vocab: its vocabulary.
    params: its parameters, on the mesh.
    digest: hash of the parameters; of published ones, of their files.
  """

  model: model_config.ModelConfig
  vocab: vocab_lib.AnyVocab
  params: Any
  digest: str


def save(folder: str | os.PathLike, model: model_config.ModelConfig,
         vocab: vocab_lib.AnyVocab, params: Any) -> dict[str, str]:
  """Writes a bundle; returns its hashes, for the manifest."""
  folder = pathlib.Path(folder)
  checkpoint.save_params(folder / 'params', params)
  vocab.save(folder / 'vocab.model')
  files.write_json(folder / 'model.json', dataclasses.asdict(model))
  return {'params': digest(params)}


def describe(source: str | os.PathLike, field: str,
             changes: Mapping[str, Any] | None = None
            ) -> tuple[model_config.ModelConfig, vocab_lib.AnyVocab]:
  """Shape and vocabulary of a model; its weights are not read.

  Args:
    source: folder of a finished stage, or published weights: a folder with
      config.json, safetensors and tokenizer.json, a .gguf file, or `smollm2`.
    field: what names it, for errors: a config field, or a flag (`--source`).
    changes: fields of its ModelConfig that shall be others, of `FREE` alone.

  Raises:
    ValueError: nothing there, other changes, or a vocabulary that the
      embedding has no room for.
  """
  path, name = sources.locate(source), runs.label(field)
  if published := sources.published(path):
    model, vocab = weights.read_config(path), hf.read(path)
  else:
    _made(path, field)
    model = _stored(path)
    vocab = vocab_lib.load(path / 'vocab.model')
  if vocab.size > model.vocab_size:
    raise ValueError(f'The vocabulary of {name}={str(source)!r} has '
                     f'{vocab.size} ids, but its embedding {model.vocab_size} '
                     'rows: they are not of the same model.')
  own, changes = dataclasses.asdict(model), dict(changes or {})
  resolve.check(model_config.ModelConfig, {**own, **changes})
  free = FREE if published else FREE[1:]
  if off := {k: (own[k], v) for k, v in changes.items()
             if v != own[k] and k not in free}:
    raise ValueError(
        f'{name}={str(source)!r} is of another model than config.model '
        f'(field: its value, config.model): {off}. Leave these out; only '
        f'{", ".join(free)} may be others.')
  return model_config.make({**own, **changes}), vocab


def load(source: str | os.PathLike, mesh: jax.sharding.Mesh, field: str,
         changes: Mapping[str, Any] | None = None) -> Bundle:
  """Reads a model onto a mesh; see `describe`.

  Raises:
    ValueError: see `describe`; or weights that do not fit their own shape or
      the mesh.
  """
  model, vocab = describe(source, field, changes)
  sharding.check(model, mesh)
  path = sources.locate(source)
  if sources.published(path):
    _, params = weights.read(
        path, functools.partial(sharding.shardings, mesh=mesh),
        **{name: getattr(model, name) for name in FREE})
    return Bundle(model, vocab, params, sources.digest(path))
  like = sharding.abstract(functools.partial(
      transformer.init, _stored(path), jax.random.key(0)), mesh)
  params = checkpoint.load_params(path / 'params', like)
  made = _made(path, field)
  if (found := digest(params)) != made['params']:
    raise ValueError(f'The parameters in {path} are not those that its '
                     f'manifest names ({found}, not {made["params"]}): delete '
                     'the folder and run its stage again.')
  params = jax.tree.map(lambda x: x.astype(model.param_dtype), params)
  return Bundle(model, vocab, params, found)


def _stored(folder: pathlib.Path) -> model_config.ModelConfig:
  """The shape of a stage's model. What its training kept in memory is nothing
  to those who use it."""
  return model_config.make({
      **files.read_json(folder / 'model.json'), 'remat': 'none'})


def _made(folder: pathlib.Path, field: str) -> Mapping[str, str]:
  """Hashes of what a stage made, the parameters' among them."""
  try:
    made = runs.manifest(folder, field)['made']
  except ValueError as e:
    raise ValueError(f'{e} Published weights are a .gguf file, or a folder '
                     'with config.json and safetensors.') from e
  if 'params' not in made:
    raise ValueError(f'{runs.label(field)}={str(folder)!r} is a finished '
                     'stage, but not one that trains a model.')
  return made


def digest(params: Any) -> str:
  """Hash of every parameter's name and bytes."""
  sha = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    sha.update(jax.tree_util.keystr(path).encode())
    sha.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
  return sha.hexdigest()[:16]
