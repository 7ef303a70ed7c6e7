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
_JSON = flags.DEFINE_string('json', '', 'File for all figures.')


def plan(config, workdir: str | None) -> None:
  """Compiles the programs and prints their needs; see the module."""
  del workdir
  chip, devices = chips.devices(_TOPOLOGY.value)
  all_needs = []
  for program in programs.lower(config, devices):
    print(f'{program.name} on {program.devices} devices ..', end=' ',
          flush=True)
    needs = measure.needs(program, chip)
    all_needs.append(needs)
    print(f'{needs.peak / 1e9:.1f} GB a device, compiled in '
          f'{needs.compile_s:.0f} s', flush=True)
  fit = measure.fit(all_needs, chip)
  print(f'\n{_TOPOLOGY.value}, {len(devices)} devices')
  print('\n'.join(text.lines(all_needs, fit, chip, config)))
  if _JSON.value:
    files.write_json(_JSON.value, measure.as_json(all_needs, fit, chip))


if __name__ == '__main__':
  common.run(plan, required=('config', 'topology'))
