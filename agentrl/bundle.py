"""What a training stage hands on: parameters, their shape, their vocabulary."""

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
from agentrl import metrics
from agentrl import runs
from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.tokenizer import vocab as vocab_lib

# Fields of ModelConfig that no parameter depends on.
FREE = ('dtype', 'remat', 'attention', 'experts', 'max_length',
        'router_aux_coef')


@dataclasses.dataclass(frozen=True)
class Bundle:
  """A model that can be run.

  Attributes:
    model: its shape.
    vocab: its vocabulary.
    params: its parameters, on the mesh.
    digest: hash of the parameters.
  """

  model: model_config.ModelConfig
  vocab: vocab_lib.Vocab
  params: Any
  digest: str

  def adapted(self, fields: Mapping[str, Any], field: str
             ) -> model_config.ModelConfig:
    """Its shape, with what a config changes without a change of parameters.

    Args:
      fields: of ModelConfig; those that are not of `FREE` must be its own.
      field: of the config, for errors.

    Raises:
      ValueError: it is another model that `fields` describe.
    """
    model = model_config.make({**dataclasses.asdict(self.model), **fields})
    own = dataclasses.asdict(self.model)
    if off := {k: (v, own[k]) for k, v in dataclasses.asdict(model).items()
               if v != own[k] and k not in FREE}:
      raise ValueError(f'config.{field} is not the model of its folder (field: '
                       f'config, folder): {off}. Make them equal, or leave '
                       'them out of the config.')
    return model


def save(folder: str | os.PathLike, model: model_config.ModelConfig,
         vocab: vocab_lib.Vocab, params: Any) -> dict[str, str]:
  """Writes a bundle; returns its hashes, for the manifest."""
  folder = pathlib.Path(folder)
  checkpoint.save_params(folder / 'params', params)
  vocab.save(folder / 'vocab.model')
  metrics.write_json(folder / 'model.json', dataclasses.asdict(model))
  return {'params': digest(params)}


def load(folder: str | os.PathLike, mesh: jax.sharding.Mesh,
         field: str) -> Bundle:
  """Reads the bundle of a finished stage onto a mesh.

  Args:
    folder: of the stage.
    mesh: where the parameters go.
    field: the config field that names the folder, for errors.

  Raises:
    ValueError: no such stage, or its parameters do not fit its own shape or
      the mesh.
  """
  made = runs.manifest(folder, field)['made']
  folder = pathlib.Path(folder)
  if 'params' not in made:
    raise ValueError(f'config.{field}={str(folder)!r} is a finished stage, but '
                     'not one that trains a model.')
  model = model_config.make(metrics.read_json(folder / 'model.json'))
  sharding.check(model, mesh)
  like = sharding.abstract(functools.partial(transformer.init, model,
                                             jax.random.key(0)), mesh)
  params = checkpoint.load_params(folder / 'params', like)
  if (found := digest(params)) != made['params']:
    raise ValueError(f'The parameters in {folder} are not those that its '
                     f'manifest names ({found}, not {made["params"]}): delete '
                     'the folder and run its stage again.')
  return Bundle(model, vocab_lib.load(folder / 'vocab.model'), params, found)


def digest(params: Any) -> str:
  """Hash of every parameter's name and bytes."""
  sha = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    sha.update(jax.tree_util.keystr(path).encode())
    sha.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
  return sha.hexdigest()[:16]
