"""Evaluation: plays a task set several times over, see `eval/results.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import pathlib
import re
from typing import Any

import ml_collections
import numpy as np
import tqdm

from agentrl import files
from agentrl import resolve
from agentrl import sharding
from agentrl import types
from agentrl.data import episodes as data_lib
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.envs import outcomes
from agentrl.eval import floors
from agentrl.eval import results
from agentrl.rollout import play as play_lib
from agentrl.rollout import policy as policy_lib
from agentrl.stage import bundles
from agentrl.stage import runs

# Raise it when a change here or in envs/ gives a number another meaning.
EVALUATOR = 1


def evaluate(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Measures one agent; does nothing if that is done already.

  Args:
    config: see configs/eval/builtin.py. `agent` is a model (see
      `bundles.describe`), or the import path of a script
      (`agentrl.eval.floors:gold`) that brings its own user. `data` is the
      folder of a data stage; '' takes the tasks that the domains bring
      themselves (tau2-bench).
    workdir: folder of this stage.

  Raises:
    ValueError: a wrong config, or inputs of another kind.
  """
  scripted = is_script(config.agent)
  fields = ('data',) if config.data else ()
  fields += () if scripted else ('agent', 'user')
  run = runs.start(workdir, 'eval', config,
                   inputs={name: config[name] for name in fields})
  if run.done:
    _say(run.folder)
    return
  env = env_load.load_many(config.domains, config.env)
  tasks = (data_lib.tasks(config.data, config.split) if config.data
           else env.tasks(config.split))
  if not tasks:
    raise ValueError(f'{config.data or env.name} holds no tasks of the split '
                     f'{config.split!r}: there is nothing to evaluate on.')
  data_lib.verify(env, tasks)
  limits = dialogue.Limits(**config.limits)
  if scripted:
    agent, user = map(policy_lib.ScriptPolicy, resolve.name(config.agent)(env))
    user_digest = config.agent  # a script and its user are one
  else:
    mesh = sharding.replica(sharding.make_mesh(config.mesh))
    user_bundle = bundles.load(config.user, mesh, 'user', config.model)
    user_digest = user_bundle.digest
    user = policy_lib.from_bundle(user_bundle, mesh, **config.user_sampler)
    agent = policy_lib.from_bundle(
        bundles.load(config.agent, mesh, 'agent', config.model), mesh,
        **config.sampler)
  parts = measurement(env, tasks, user=user_digest,
                      protocol=_protocol(config))
  with tqdm.tqdm(total=len(tasks) * config.trials, unit='dialogue',
                 desc='evaluate') as bar:
    episodes = play_lib.play(
        env, [t for t in tasks for _ in range(config.trials)], agent=agent,
        user=user, seeds=_seeds(config.seed, len(tasks), config.trials),
        trials=[*range(config.trials)] * len(tasks), limits=limits,
        progress=bar.update)
  found = {
      **results.summarize(
          tasks, episodes, seed=config.seed,
          scripts=floors.measure(env, tasks, limits=limits)),
      'grading': env.grading,
      'db_asked': any('DB' in t.criteria.reward_basis for t in tasks),
      'measurement': files.hash_text(json.dumps(parts)),
      'measurement_parts': parts, 'seed': config.seed,
      'versions': runs.versions()}
  results.write(run.folder, tasks, episodes, found)
  run.finish(num_tasks=len(tasks), num_trials=config.trials)
  _say(run.folder)


def is_script(agent: str) -> bool:
  """Whether this is the import path of a script, not where a model lies."""
  path = re.fullmatch(r'[\w.]+:\w+', agent)
  return bool(path) and not pathlib.Path(agent).exists()


def _say(folder: pathlib.Path) -> None:
  found = files.read_json(folder / 'metrics.json')
  share = lambda x: 'unknown' if x is None else f'{100 * x:.1f} %'
  known = {n: x for n, x in found['floors'].items() if x is not None}
  best = max(known, key=known.get, default='noop')
  print(f'{folder} is done: pass^1 is {share(found["pass^1"])} on '
        f'{found["num_tasks"]} tasks, {found["num_trials"]} trials each; '
        f'best floor {share(known.get(best))} ({best})'
        + (f', graded as {found["grading"]}.' if found['grading'] else '.'))
  if 'db_only' in found:
    note = '' if found['db_asked'] else ', which these tasks do not ask for'
    print(f'  By the database alone{note}: {share(found["db_only"])}.')
  if found['excluded']:
    kinds = ', '.join(f'{n} {outcome}' for outcome, n in
                      found['outcomes'].items()
                      if n and not outcomes.RULES[outcome].evaluated)
    print(f'  Left out: {kinds}; counted as failures pass^1 would be '
          f'{share(found["with_excluded"])}.')


def _protocol(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """How dialogues are played, but for what does not change them."""
  fields = json.loads(config.to_json_best_effort())
  names = ('trials', 'limits', 'sampler', 'user_sampler', 'model')
  protocol = {name: fields[name] for name in names if fields.get(name)}
  for sampler in ('sampler', 'user_sampler'):
    protocol.get(sampler, {}).pop('slots', None)
  return protocol


def _seeds(seed: int, tasks: int, trials: int) -> list[int]:
  """One for each dialogue: a function of the seed, the task's place in the
  list and the trial alone."""
  return [int(np.random.SeedSequence([seed, p, g]).generate_state(1)[0])
          for p in range(tasks) for g in range(trials)]


def measurement(env: env_lib.Env, tasks: Sequence[types.Task], *, user: str,
                protocol: Mapping[str, Any]) -> dict[str, str]:
  """Digests of all that a number depends on, but for the agent.

  Args:
    env: gives the fingerprint of policy, tools, data and evaluator.
    tasks: with their criteria, reward bases and checkers.
    user: digest of the user model.
    protocol: trials, limits and sampling of the dialogues.
  """
  prompts = [[env_lib.prompt_text(env, side, task), env.tools(side, task)]
             for task in tasks for side in ('assistant', 'user')]
  return {
      'evaluator': str(EVALUATOR),
      'environment': env.fingerprint(),
      'tasks': files.hash_text('\n'.join(map(types.dumps, tasks))),
      'prompts': files.hash_text(json.dumps(prompts)),
      'protocol': files.hash_text(json.dumps(protocol, sort_keys=True)),
      'user': user,
  }
