"""Inputs of a stage: folders of finished stages, or published weights.

A stage resolves each of its inputs once, when it starts; functions that read
the input afterwards are given the `Input`, which holds its manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import json
import os
import pathlib
from typing import Any

from agentrl import files
from agentrl.stage import sources

# Version of the files of a stage's folder. Raise it when a change makes older
# folders unreadable, or their contents mean something else.
FORMAT = 1
# Config field -> script that makes the folder which the field names.
MAKERS = {'data': 'scripts/synthesize.py',
          'tokenizer': 'scripts/train_tokenizer.py',
          'init_from': 'scripts/train_sft.py',
          'user': 'scripts/train_sft.py with side=user',
          'agent': 'scripts/train_sft.py or train_grpo.py'}
_NOT_MODELS = ('data', 'tokenizer', 'feedback', '--workdir')


@dataclasses.dataclass(frozen=True)
class Input:
  """One resolved input.

  Attributes:
    field: config field or flag (`--source`) that names it.
    source: the value of that field.
    path: folder of the stage, or file or folder of published weights.
    digest: hash of the files that the stage made, without the time it took;
      for published weights, see `sources.digest`.
    manifest: manifest of the stage; None for published weights.
  """

  field: str
  source: str
  path: pathlib.Path
  digest: str
  manifest: Mapping[str, Any] | None

  @property
  def label(self) -> str:
    """Returns the input's name in errors, as `config.user='runs/user'`."""
    return f'{label(self.field)}={self.source!r}'


def label(field: str) -> str:
  """Returns the name of a config field or flag (`--source`) in errors."""
  return field if field.startswith('--') else f'config.{field}'


def resolve(source: str | os.PathLike | Input, field: str = 'data') -> Input:
  """Finds an input and reads its manifest.

  Args:
    source: folder of a finished stage; published weights: a folder with
      config.json, safetensors and tokenizer.json, a .gguf file, or `smollm2`;
      or an `Input`, which is returned as it is.
    field: config field or flag that names it, for errors.

  Raises:
    ValueError: nothing is named, or see `sources` and `manifest`.
  """
  if isinstance(source, Input):
    return source
  if not source:
    raise ValueError(f"{label(field)} is '', and this stage is made from it: "
                     f'give the folder of the stage before{_by(field)}.')
  path = sources.locate(source)
  if field not in _NOT_MODELS and sources.published(path):
    return Input(field, str(source), path, sources.digest(path), None)
  facts = manifest(source, field)
  kept = {key: facts[key] for key in ('stage', 'made')}
  return Input(field, str(source), path,
               files.hash_text(json.dumps(kept, sort_keys=True)), facts)


def manifest(folder: str | os.PathLike, field: str = 'data') -> dict[str, Any]:
  """Reads the manifest of a finished stage.

  Args:
    folder: folder of the stage.
    field: config field or flag that names it, for errors.

  Raises:
    ValueError: the stage has not finished, or older code has made it.
  """
  path = pathlib.Path(folder) / 'manifest.json'
  if not path.exists():
    state = ('has not finished' if (path.parent / 'config.json').exists()
             else 'is not the folder of a stage')
    raise ValueError(f'{label(field)}={str(folder)!r} {state} (no '
                     'manifest.json there): run that stage first'
                     f'{_by(field)}, or give its folder.{_published(field)}')
  facts = files.read_json(path)
  check_format(facts, f'{label(field)}={str(folder)!r}')
  return facts


def check_format(facts: Mapping[str, Any], name: str) -> None:
  """Raises ValueError unless this version wrote a manifest or config.json.

  Args:
    facts: its content.
    name: name of the folder in the error.
  """
  if facts.get('format') != FORMAT:
    raise ValueError(f'{name} was made by an older version of agentrl: run '
                     'that stage again in a new folder.')


def _by(field: str) -> str:
  """Returns the script that makes the folder a field names, for errors."""
  return f' ({MAKERS[field]})' if field in MAKERS else ''


def _published(field: str) -> str:
  return '' if field in _NOT_MODELS else (
      ' Published weights are a .gguf file, or a folder with config.json and '
      'safetensors.')
