"""The fields by which a results file says where it is from."""

import datetime
import os
import platform
import shlex
import sys
from typing import Any

from agentrl.stage import runs


def facts(title: str, seed: int = 0) -> dict[str, Any]:
  """Returns the origin of the figures that this process measures.

  Args:
    title: name of the measurement, for readers.
    seed: seed of its inputs.

  Returns:
    the fields that benchmarks/results/README.md describes.
  """
  return {'title': title, 'measured': datetime.date.today().isoformat(),
          'commit': runs.code(), 'command': f'python {shlex.join(sys.argv)}',
          'seed': seed, 'machine': platform.platform(), 'cpus': os.cpu_count(),
          'versions': runs.versions()}
