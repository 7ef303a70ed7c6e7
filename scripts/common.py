"""What the scripts share: flags, and errors in one or two lines."""

from __future__ import annotations

from collections.abc import Callable
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # configs/ is no package that is installed

from absl import app  # noqa: E402
from absl import flags  # noqa: E402
import ml_collections  # noqa: E402
from ml_collections import config_flags  # noqa: E402

CONFIG = config_flags.DEFINE_config_file('config', None, 'The config.')
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of this stage.')


def run(stage: Callable[[ml_collections.ConfigDict, str], None]) -> None:
  """Runs `stage(config, workdir)` of the command line."""
  flags.mark_flags_as_required(['config', 'workdir'])
  def main(argv: list[str]) -> None:
    stage(CONFIG.value, WORKDIR.value)
    print(f'Done: {WORKDIR.value}')
  app.run(main)
