"""Runs the whole chain: data, tokenizer, SFT, evaluation, GRPO, report.

  python scripts/run.py --config=configs/quickstart.py --workdir=runs/mine

Each stage is a folder of the workdir and is made from those before it. Called
again, the chain resumes where it was stopped and repeats no finished stage.
"""

from __future__ import annotations

import pathlib
import shutil
import time

from absl import flags
import common
import jax
import ml_collections

from agentrl import files
from agentrl import resolve
from agentrl.report import html
from agentrl.report import text
from agentrl.stage import runs

FRESH = flags.DEFINE_bool('fresh', False, 'Delete the workdir first.')

# Stage -> import path of its function, and config field -> stage before whose
# folder it names. A config without `tokenizer` is for published models.
STAGES = {
    'data': ('', {}),  # `synthesize` of the config gives the path
    'tokenizer': ('agentrl.data.vocabulary:train', {'data': 'data'}),
    'user_sft': ('agentrl.sft.train:train',
                 {'data': 'data', 'tokenizer': 'tokenizer'}),
    # From scratch the agent starts from the user model, which can read.
    'agent_sft': ('agentrl.sft.train:train',
                  {'data': 'data', 'tokenizer': 'tokenizer',
                   'init_from': 'user_sft'}),
    'eval_sft': ('agentrl.eval.run:evaluate',
                 {'data': 'data', 'user': 'user_sft', 'agent': 'agent_sft'}),
    'grpo': ('agentrl.rl.train:train',
             {'data': 'data', 'user': 'user_sft', 'init_from': 'agent_sft'}),
    'eval_grpo': ('agentrl.eval.run:evaluate',
                  {'data': 'data', 'user': 'user_sft', 'agent': 'grpo'}),
}


# Fields of the config that are not stages.
OWN = ('synthesize', 'expected_s', 'expected_on')


def read_stages(config: ml_collections.ConfigDict) -> dict[str, common.Stage]:
  """Returns the stage functions of a chain, with their configs checked.

  Raises:
    ValueError: an unknown stage, or a stage does not take its config.
  """
  for name in config:
    if name not in (*STAGES, *OWN):
      raise ValueError(f'config.{name} would have no effect: a chain has no '
                       'such stage.' + resolve.hint(name, (*STAGES, *OWN)))
  stages = {name: resolve.name(path or config.synthesize)
            for name, (path, _) in STAGES.items() if name in config}
  for name, stage in stages.items():
    common.check_fields(stage, config[name], f'config.{name}')
  return stages


def chain(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Runs every stage of `config` that is not finished; see the module."""
  root = pathlib.Path(workdir)
  if FRESH.value and root.exists():
    _delete(root)
  # Compiled programs are cached for the evaluations and a second start.
  jax.config.update('jax_compilation_cache_dir', str(root / 'compiled'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  stages = read_stages(config)
  _print_plan(config, root)
  for name in stages:
    if _done(root, name):
      continue
    for field, stage in _wires(config, name).items():
      config[name][field] = str(root / stage)
    began = time.monotonic()
    stages[name](config[name], str(root / name))
    print(f'{name} took {time.monotonic() - began:.0f} s', flush=True)
  page = html.write(root)
  print(text.table(files.read_json(root / 'summary.json')))
  for name in stages:
    if why := files.read_json(root / name / 'manifest.json').get('stopped'):
      print(f'{name} ended early: {why}')
  print(page)


def _wires(config: ml_collections.ConfigDict, name: str) -> dict[str, str]:
  """Returns config field -> stage before, for the inputs of a stage."""
  wires = STAGES[name][1]
  if 'tokenizer' in config:
    return wires
  # A published model has a vocabulary, and both sides start from it.
  own = ('tokenizer', 'tokenizer'), ('init_from', 'user_sft')
  return dict(wire for wire in wires.items() if wire not in own)


def _done(root: pathlib.Path, name: str) -> bool:
  return runs.is_done(root / name)


def _print_plan(config: ml_collections.ConfigDict, root: pathlib.Path) -> None:
  """Prints the stages with their expected times."""
  print(f'The plan, in {root} (times on {config.expected_on}):')
  total = 0
  for name in (name for name in STAGES if name in config):
    seconds = config.expected_s[name]
    total += 0 if _done(root, name) else seconds
    state = 'done' if _done(root, name) else f'about {seconds} s'
    print(f'  {name:10} {state}')
  print(f'  in all about {max(1, round(total / 60))} min\n' if total else
        '  Everything is done; --fresh starts over.\n', flush=True)


def _delete(root: pathlib.Path) -> None:
  """Deletes a workdir, but nothing that is not one."""
  if not any((root / name / 'config.json').exists() for name in STAGES):
    raise ValueError(f'--fresh will not delete {root}: it holds no stage of a '
                     'run. Delete it yourself if you mean it.')
  shutil.rmtree(root)


if __name__ == '__main__':
  common.run(chain)
