"""Flags of the scripts, and errors in one or two lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import math
import os
import pathlib
import re
import signal
import sys
from typing import Any

from absl import app
from absl import flags
from absl import logging
import jax
import ml_collections
from ml_collections import config_flags

# configs/ is not part of what is installed.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from agentrl import resolve  # noqa: E402

Stage = Callable[[ml_collections.ConfigDict, str], Any]

CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'File of the config; --config.field=value overrides.')
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of this stage.')
TRACEBACK = flags.DEFINE_bool('traceback', False,
                              'Show where an error came from.')


def run(stage: Stage, required: Sequence[str] = ('config', 'workdir'),
        page: Callable[[str], Any] | None = None) -> None:
  """Runs `stage(config, workdir)` from the command line, and exits.

  An error that the user can mend (a wrong value, a missing file, a full disk)
  ends in a message and exit code 1, Ctrl-C in 130; a bug keeps its traceback.

  Args:
    stage: function of a stage.
    required: flags that must be given.
    page: writes a page about the finished stage and returns its path, which is
      printed.
  """
  flags.mark_flags_as_required(required)
  def main(argv: Sequence[str]) -> None:
    if argv[1:]:
      sys.exit(f'Unexpected arguments {argv[1:]}: give --'
               f'{" and --".join(required)}.')
    logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # cleans up
    try:
      _make_devices(CONFIG.value)
      stage(CONFIG.value, WORKDIR.value)
      if page:
        print(page(WORKDIR.value))
    except (ValueError, OSError) as e:
      if TRACEBACK.value:
        raise
      sys.exit(f'Error: {_one_line(e)}')
    except KeyboardInterrupt:
      print('\nStopped. The same command goes on from here.', file=sys.stderr)
      sys.exit(130)
  app.run(main, flags_parser=_parse)


def _make_devices(config: ml_collections.ConfigDict | None) -> None:
  """Splits the CPU into as many devices as the largest mesh needs.

  Small models gain more from that than from many threads in one operation.
  """
  flag = 'xla_force_host_platform_device_count'
  most = max(_mesh_sizes(config), default=1)
  if most > 1 and flag not in os.environ.get('XLA_FLAGS', ''):
    jax.config.update('jax_num_cpu_devices', most)


def _mesh_sizes(config: ml_collections.ConfigDict | None) -> Iterator[int]:
  """Yields the number of devices of each mesh of a config."""
  for name, value in (config or {}).items():
    if name in ('mesh', 'sampler_mesh'):
      yield math.prod(value.values())
    elif isinstance(value, ml_collections.ConfigDict):
      yield from _mesh_sizes(value)


def check_fields(stage: Stage, config: ml_collections.ConfigDict,
                 name: str) -> None:
  """Checks a config against the declared fields of a stage, and runs nothing.

  Args:
    stage: function of the stage.
    config: its config.
    name: name of the config in errors.

  Raises:
    ValueError: a field is unknown, missing or of another type; or the module
      of the stage lacks `read_config`.
  """
  module = sys.modules[stage.__module__]
  if not hasattr(module, 'read_config'):
    raise ValueError(f'{module.__name__} declares no fields: give it a '
                     'function `read_config` as in agentrl/sft/train.py.')
  module.read_config(config, name)


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses the flags; the error of an unknown one suggests near names."""
  try:
    return flags.FLAGS(argv)
  except (AttributeError, KeyError) as e:  # a field that the config lacks
    sys.exit(f'Error: {_unknown_field(argv) or e}')
  except (flags.Error, OSError) as e:
    sys.exit(f'Error: {_one_line(e)}')


def _unknown_field(argv: Sequence[str]) -> str:
  """Returns an error that names the unknown --config.field and near ones."""
  pattern = r'^--?([\w.]+)(?:=|\n(?!-))(.*)$'
  given = dict(re.findall(pattern, '\n'.join(argv), re.M))
  config = flags.FLAGS['config'].parser.parse(given.get('config'))
  for name in given:
    holder = config if name.startswith('config.') else {}
    for part in name.split('.')[1:]:
      if not isinstance(holder, ml_collections.ConfigDict):
        break
      if part not in holder:
        return f'config has no {name[7:]!r}.' + resolve.hint(part, holder)
      holder = holder[part]
  return ''


def _one_line(error: Exception) -> str:
  """Returns the message as one line; only the last line of a traceback."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  if 'Traceback' in str(error):
    return lines[-1].strip()
  return ' '.join(line.strip() for line in lines)
