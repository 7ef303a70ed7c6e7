"""What a config needs of a TPU slice, without a TPU; see docs/scaling.md.

  pip install -e .[plan]
  python scripts/plan.py --config=configs/grpo/qwen3_235b_tau2.py \
    --topology=v5p:8x8x16 [--json=plan.json]

Compiles the very update and sampling steps of SFT or GRPO for that slice and
prints memory, FLOPs, collectives and estimated times. No weights are read.
"""

import os

# Before jax is imported: no TPU is looked for, and meshes of the config are
# not made of CPU devices.
os.environ.update(
    JAX_PLATFORMS='cpu', TPU_SKIP_MDS_QUERY='1', ALLOW_MULTIPLE_LIBTPU_LOAD='1',
    TPU_WORKER_HOSTNAMES='localhost', TPU_MIN_LOG_LEVEL='3',
    TPU_STDERR_LOG_LEVEL='3', TF_CPP_MIN_LOG_LEVEL='3',
    XLA_FLAGS='--xla_force_host_platform_device_count=1')

from absl import flags  # noqa: E402
import common  # noqa: E402

from agentrl import files
from agentrl.capacity import chips  # noqa: E402
from agentrl.capacity import measure  # noqa: E402
from agentrl.capacity import programs  # noqa: E402
from agentrl.capacity import text  # noqa: E402

_TOPOLOGY = flags.DEFINE_string('topology', None, 'As v5p:4x4x4.')
_JSON = flags.DEFINE_string('json', '', 'File for all that was found.')


def plan(config, workdir: str | None) -> None:
  """Compiles and prints; see the module."""
  del workdir
  chip, devices = chips.devices(_TOPOLOGY.value)
  found = []
  for program in programs.of(config, devices):
    print(f'{program.name} on {program.devices} devices ..', end=' ',
          flush=True)
    found.append(measure.needs(program, chip))
    print(f'{found[-1].peak / 1e9:.1f} GB a device, compiled in '
          f'{found[-1].compile_s:.0f} s', flush=True)
  fit = measure.fit(found, chip)
  print(f'\n{_TOPOLOGY.value}, {len(devices)} devices')
  print('\n'.join(text.lines(found, fit, chip, config)))
  if _JSON.value:
    files.write_json(_JSON.value, measure.as_json(found, fit, chip))


if __name__ == '__main__':
  common.run(plan, required=('config', 'topology'))
