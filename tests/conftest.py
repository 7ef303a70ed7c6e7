"""How every test run uses the machine: set before jax is imported, and
inherited by the scripts that tests start.

Workers of pytest-xdist share the cores, so each has one thread; more would only
wait for each other. Most of the time goes into compiling: programs that were
compiled once are read from a cache, by all workers, by scripts and by later
runs in this checkout.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shutil

import pytest


def _machine() -> str:
  """Names the processor, whose instructions compiled programs use."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    lines = []
  lines = {line for line in lines
           if line.startswith(('flags', 'Features', 'model name'))}
  return repr((platform.uname()[4:], sorted(lines)))


def pytest_configure(config):
  key = hashlib.sha256((_machine() + importlib.metadata.version('jaxlib'))
                       .encode()).hexdigest()[:16]
  defaults = {
      'JAX_PLATFORMS': 'cpu',  # with libtpu installed jax looks for a TPU
      'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1',
      'XLA_FLAGS': '--xla_cpu_multi_thread_eigen=false',
      'JAX_COMPILATION_CACHE_DIR': str(
          config.rootpath / '.pytest_cache' / f'jax-{key}'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
      # Else the path is part of each program's key.
      'JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES': 'none'}
  for name, value in defaults.items():
    os.environ.setdefault(name, value)


def pytest_collection_modifyitems(items):
  """Puts slow tests first: one of many minutes that comes last would leave the
  other workers without work."""
  items.sort(key=lambda item: item.get_closest_marker('slow') is None)


@pytest.fixture(scope='session')
def once(tmp_path_factory):
  """`once(name, make)`: a folder that `make(folder)` fills, in one worker of
  the run for all of them."""
  root = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    root = root.parent  # of all workers

  def run(name, make):
    folder, done = root / name, root / f'{name}.done'
    with contextlib.closing(open(root / f'{name}.lock', 'w')) as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait here
      if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a maker that failed
        folder.mkdir()
        make(folder)
        done.touch()
    return folder
  return run
