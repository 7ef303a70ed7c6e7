"""Converts evaluations to and from the results file of tau2-bench:

  python scripts/tau2_results.py --workdir=runs/tau2/eval_grpo \
    --export=results.json
  python scripts/tau2_results.py --workdir=runs/theirs --import=results.json

`tau2 view` shows an exported file and `tau2 evaluate-trajs` evaluates it again.
An imported file becomes a finished evaluation like those of scripts/evaluate.py
and can be compared with them. With --rescore the calls are played again and the
dialogues scored again; otherwise the verdicts of the file are kept.
"""

import collections
from collections.abc import Mapping, Sequence
import datetime
import json
import pathlib
from typing import Any

from absl import flags
import common
import ml_collections

from agentrl import files
from agentrl import types
from agentrl.data import episodes as data_lib
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from agentrl.envs import outcomes
from agentrl.envs.tau2 import results_read
from agentrl.envs.tau2 import results_write
from agentrl.eval import floors
from agentrl.eval import results
from agentrl.eval import run as eval_run
from agentrl.stage import inputs
from agentrl.stage import runs

EXPORT = flags.DEFINE_string(
    'export', None, 'File to write; one for each domain if there are several.')
IMPORT = flags.DEFINE_string('import', None, 'File to read.')
RESCORE = flags.DEFINE_bool('rescore', False, 'Score imported dialogues again.')
PROMPT = flags.DEFINE_string(
    'prompt', 'full', 'Prompt style of the imported dialogues.')
GRADING = flags.DEFINE_string(
    'grading', 'v0.2.1', 'Version of the benchmark that graded the import.')


def main(config: None, workdir: str) -> None:
  """Exports from the folder, or imports into it."""
  del config
  if bool(EXPORT.value) == bool(IMPORT.value):
    raise ValueError('Give either --export=FILE or --import=FILE.')
  if EXPORT.value:
    write(workdir, EXPORT.value)
  else:
    read(workdir, IMPORT.value, rescore=RESCORE.value,
         options=dict(prompt=PROMPT.value, grading=GRADING.value))


def write(workdir: str, out: str) -> None:
  """Writes the results file of each domain of an evaluation.

  Raises:
    ValueError: the evaluation has not finished, is of another domain, or was
      made with another version of it.
  """
  folder = pathlib.Path(workdir)
  manifest = inputs.manifest(folder, '--workdir')
  if manifest['stage'] != 'eval':
    raise ValueError(f'{folder} is of the stage {manifest["stage"]!r}: give '
                     'the folder of an evaluation.')
  config = files.read_json(folder / 'config.json')['config']
  by_domain = collections.defaultdict(list)
  for name, episode in results.read_transcripts(folder):
    by_domain[name.removesuffix(f'/{episode.task_id}')].append(episode)
  if odd := [d for d in by_domain if not d.startswith('tau2:')]:
    raise ValueError(f'{folder} has dialogues of {", ".join(odd)}: only those '
                     'of tau2-bench have a results file.')
  setup = _setup(folder, config, manifest['code'])
  for domain, episodes in by_domain.items():
    path = pathlib.Path(out)
    if len(by_domain) > 1:
      path = path.with_stem(f'{path.stem}_{domain[5:]}')
    # A judge would cost money, and its verdicts are on record.
    env = env_load.load(domain, {**config['env'], 'judge': ''})
    record = results_write.to_json(
        env, _tasks(config, env, episodes), episodes, setup)
    files.write_json(path, record)
    _say(path, f'{len(record["simulations"])} simulations of '
         f'{len(record["tasks"])} tasks', 'left out', episodes)


def _setup(folder: pathlib.Path, config: Mapping[str, Any],
           commit: str) -> results_read.Setup:
  # A script and its user are one.
  scripted = eval_run.is_script(config['agent'])
  when = (folder / 'metrics.json').stat().st_mtime
  return results_read.Setup(
      agent=config['agent'], user=config['agent' if scripted else 'user'],
      trials=config['trials'], limits=dialogue.Limits(**config['limits']),
      seed=config['seed'], commit=commit or 'unknown',
      when=datetime.datetime.fromtimestamp(when).isoformat(),
      args={side: config[name] for side, name in (
          ('agent', 'sampler'), ('user', 'user_sampler')) if name in config})


def _tasks(config: Mapping[str, Any], env: Any,
           episodes: Sequence[types.Episode]) -> list[types.Task]:
  """Returns the tasks of the episodes: from the data, else the benchmark's."""
  known = {}
  data = config.get('data')  # an imported evaluation has none
  if data and (pathlib.Path(data) / 'manifest.json').exists():
    known = {task.id: task for task in data_lib.tasks(data, config['split'])
             if task.domain == env.name}
  return [known[key] if key in known else env.by_id(key)
          for key in dict.fromkeys(e.task_id for e in episodes)]


def read(workdir: str, path: str, *, rescore: bool,
         options: Mapping[str, Any]) -> None:
  """Converts a results file to a finished evaluation.

  Args:
    workdir: folder to write the evaluation to.
    path: the results file.
    rescore: whether to play and score the dialogues again.
    options: options of the environment.

  Raises:
    ValueError: see `results_read.read` and `results_read.episodes`; or the
      folder belongs to another run.
  """
  file = results_read.read(path)
  setup, name = file.setup, f'tau2:{file.domain}'
  options = {**options, 'solo': file.solo}
  many = env_load.load_many([name], options)
  tasks, episodes = results_read.episodes(many.envs[name], file, rescore)
  # Sampling options are left out: they may hold the key of an API.
  config = ml_collections.ConfigDict(dict(
      seed=setup.seed or 0, domains=(name,), env=options, agent=setup.agent,
      user=setup.user, trials=len(episodes) // len(tasks),
      limits=dict(max_steps=setup.limits.max_steps,
                  max_errors=setup.limits.max_errors),
      file=str(path), file_digest=files.file_digest(path), rescore=rescore))
  run = runs.start(workdir, 'eval', config)
  if not run.done:
    parts = eval_run.measurement(many, tasks, user=setup.user, protocol=dict(
        trials=config.trials, limits=config.limits.to_dict(),
        args=setup.args))
    results.write(run.folder, tasks, episodes, {
        **results.summarize(
            tasks, episodes, seed=config.seed,
            scripts=floors.measure(many, tasks, limits=setup.limits)),
        'measurement': files.hash_text(json.dumps(parts)),
        'measurement_parts': parts, 'seed': config.seed,
        'versions': runs.versions()})
    run.finish(num_tasks=len(tasks), num_trials=config.trials)
  _say(run.folder, f'{len(episodes)} dialogues of {len(tasks)} tasks',
       'not counted', episodes)


def _say(path: pathlib.Path, what: str, verb: str,
         episodes: Sequence[types.Episode]) -> None:
  """Prints the numbers of the result, and which dialogues are no trials."""
  out = collections.Counter(e.outcome for e in episodes
                            if not outcomes.RULES[e.outcome].evaluated)
  others = ', '.join(f'{count} {outcome}' for outcome, count in out.items())
  print(f'{path}: {what}' + (f'; {verb}: {others}.' if others else '.'))


if __name__ == '__main__':
  common.run(main, required=['workdir'])
