"""Evaluation: plays a task set several times over, see `eval/results.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
import re
from typing import Any, NamedTuple

import ml_collections
import numpy as np
import tqdm

from agentrl import files
from agentrl import jsons
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
from agentrl.rollout import sampling
from agentrl.stage import bundles
from agentrl.stage import fields
from agentrl.stage import inputs as inputs_lib
from agentrl.stage import runs

# Raise it when a change here or in envs/ gives a number another meaning.
EVALUATOR = 1


@dataclasses.dataclass(frozen=True)
class ScriptConfig:
  """Fields of the config if a script plays; configs/eval/ explains them."""

  seed: int
  domains: tuple[str, ...]
  env: Mapping[str, Any]
  data: str
  split: str
  trials: int
  limits: dialogue.Limits
  agent: str


@dataclasses.dataclass(frozen=True)
class Config(ScriptConfig):
  """Fields of the config if models play."""

  user: str
  model: bundles.ModelFields
  mesh: sharding.Axes
  sampler: sampling.Sampling
  user_sampler: sampling.Sampling


class _Players(NamedTuple):
  """Both sides of the dialogues, and the digest of the user."""

  agent: policy_lib.Policy
  user: policy_lib.Policy
  user_digest: str


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> ScriptConfig:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  if is_script(config.get('agent', '')):
    return fields.read(ScriptConfig, config, name=name,
                       where='an evaluation whose agent is a script')
  return fields.read(Config, config, name=name)


def evaluate(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Measures one agent; does nothing if that is done already.

  Args:
    config: see configs/eval/builtin.py. `agent` is a model (see
      `inputs.resolve`), or the import path of a script
      (`agentrl.eval.floors:gold`) that brings its own user. `data` is the
      folder of a data stage; '' takes the tasks that the domains bring
      themselves (tau2-bench).
    workdir: folder of this stage.

  Raises:
    ValueError: a wrong config, or inputs of another kind.
  """
  config = read_config(config)
  sources = {'data': config.data} if config.data else {}
  if isinstance(config, Config):
    sources |= {'agent': config.agent, 'user': config.user}
  run = runs.start(workdir, 'eval', config, sources)
  if run.done:
    _say(run.folder)
    return
  env = env_load.load_many(config.domains, config.env)
  tasks = (data_lib.tasks(run.inputs['data'], config.split) if config.data
           else env.tasks(config.split))
  if not tasks:
    raise ValueError(f'{config.data or env.name} holds no tasks of the split '
                     f'{config.split!r}: there is nothing to evaluate on.')
  data_lib.verify(env, tasks)
  players = _players(config, run.inputs, env)
  parts = measurement(env, tasks, user=players.user_digest,
                      protocol=_protocol(config))
  with tqdm.tqdm(total=len(tasks) * config.trials, unit='dialogue',
                 desc='evaluate') as bar:
    episodes = play_lib.play(
        env, [t for t in tasks for _ in range(config.trials)],
        agent=players.agent, user=players.user,
        seeds=_seeds(config.seed, len(tasks), config.trials),
        trials=[*range(config.trials)] * len(tasks), limits=config.limits,
        progress=bar.update)
  results.write(run.folder, tasks, episodes, {
      **results.summarize(
          tasks, episodes,
          scripts=floors.measure(env, tasks, limits=config.limits)),
      'grading': env.grading,
      'db_asked': any('DB' in t.criteria.reward_basis for t in tasks),
      'measurement': files.hash_text(json.dumps(parts)),
      'measurement_parts': parts, 'seed': config.seed,
      'versions': runs.versions()})
  run.finish(num_tasks=len(tasks), num_trials=config.trials)
  _say(run.folder)


def _players(config: ScriptConfig, inputs: Mapping[str, inputs_lib.Input],
             env: env_lib.Env) -> _Players:
  """Loads both models, or makes the script and its user."""
  if not isinstance(config, Config):
    agent, user = map(policy_lib.ScriptPolicy, resolve.name(config.agent)(env))
    return _Players(agent, user, config.agent)  # a script includes its user
  mesh = sharding.replica(sharding.make_mesh(config.mesh))

  def load(side: str, sampler: sampling.Sampling
          ) -> tuple[policy_lib.ModelPolicy, str]:
    bundle = bundles.load(bundles.describe(inputs[side], config.model), mesh)
    return policy_lib.from_bundle(
        bundle, mesh, **dataclasses.asdict(sampler)), bundle.digest
  user, user_digest = load('user', config.user_sampler)
  agent, _ = load('agent', config.sampler)
  return _Players(agent, user, user_digest)


def is_script(agent: str) -> bool:
  """Returns whether `agent` is the import path of a script, not a folder."""
  path = re.fullmatch(r'[\w.]+:\w+', agent)
  return bool(path) and not pathlib.Path(agent).exists()


def _say(folder: pathlib.Path) -> None:
  figures = files.read_json(folder / 'metrics.json')
  share = lambda x: 'unknown' if x is None else f'{100 * x:.1f} %'
  known = {n: x for n, x in figures['floors'].items() if x is not None}
  best = max(known, key=known.get, default='noop')
  print(f'{folder} is done: pass^1 is {share(figures["pass^1"])} on '
        f'{figures["num_tasks"]} tasks, {figures["num_trials"]} trials each; '
        f'best floor {share(known.get(best))} ({best})'
        + (f', graded as {figures["grading"]}.' if figures['grading'] else '.'))
  if 'db_only' in figures:
    note = '' if figures['db_asked'] else ', which these tasks do not ask for'
    print(f'  By the database alone{note}: {share(figures["db_only"])}.')
  if figures['excluded']:
    kinds = ', '.join(f'{n} {outcome}' for outcome, n in
                      figures['outcomes'].items()
                      if n and not outcomes.RULES[outcome].evaluated)
    print(f'  Left out: {kinds}; counted as failures pass^1 would be '
          f'{share(figures["with_excluded"])}.')


def _protocol(config: ScriptConfig) -> dict[str, Any]:
  """Returns the settings that change how dialogues are played."""
  values = dataclasses.asdict(config)
  names = ('trials', 'limits', 'sampler', 'user_sampler', 'model')
  protocol = {name: values[name] for name in names if values.get(name)}
  for sampler in ('sampler', 'user_sampler'):
    for field in sampling.SPEED:
      protocol.get(sampler, {}).pop(field, None)
  return protocol


def _seeds(seed: int, tasks: int, trials: int) -> list[int]:
  """Returns the seed of each dialogue, a function of the evaluation's seed, the
  index of the task and the trial alone."""
  return [int(np.random.SeedSequence([seed, p, g]).generate_state(1)[0])
          for p in range(tasks) for g in range(trials)]


def measurement(env: env_lib.Env, tasks: Sequence[types.Task], *, user: str,
                protocol: Mapping[str, Any]) -> dict[str, str]:
  """Returns digests of all that a number depends on, except the agent.

  Args:
    env: environment; its fingerprint covers policy, tools, data and evaluator.
    tasks: tasks with criteria, reward bases and checkers.
    user: digest of the user model.
    protocol: trials, limits and sampling of the dialogues.
  """
  prompts = [[env_lib.prompt_text(env, side, task), env.tools(side, task)]
             for task in tasks for side in ('assistant', 'user')]
  return {
      'evaluator': str(EVALUATOR),
      'environment': env.fingerprint(),
      'tasks': files.hash_text('\n'.join(map(jsons.dumps, tasks))),
      'prompts': files.hash_text(json.dumps(prompts)),
      'protocol': files.hash_text(json.dumps(protocol, sort_keys=True)),
      'user': user,
  }
