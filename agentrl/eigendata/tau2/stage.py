"""Writes the data stage for tau2-bench: dialogues for its tasks and new ones.

No LLM takes part: `telecom/agent.py`, `airline/agent.py` and `retail/agent.py`
speak for agent and user. A dialogue that the benchmark's evaluator does not
score 1 is dropped. Tasks that the run will be judged on get a certificate, but
no dialogue is ever written for them. The folder has the form of the data
engine's (`run.py`): dialogues, tasks as JSON lines, figures, manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import random
from typing import Any, NamedTuple

import ml_collections
import tqdm

from agentrl import jsons
from agentrl import seeds
from agentrl import types
from agentrl.eigendata import output
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.check import held_out
from agentrl.eigendata.scale import statistics
from agentrl.eigendata.tau2 import certify
from agentrl.eigendata.tau2 import dialogue as tau2_dialogue
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.tau2 import tasks as tau2_tasks
from agentrl.eigendata.tau2.airline import agent as airline_agent
from agentrl.eigendata.tau2.retail import agent as retail_agent
from agentrl.eigendata.tau2.telecom import agent as telecom_agent
from agentrl.eigendata.tau2.telecom import tasks as telecom_tasks
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2_env
from agentrl.stage import fields
from agentrl.stage import runs


class DialogueWriter(NamedTuple):
  """Writes the dialogues of one domain of the benchmark.

  Attributes:
    dialogue: makes a dialogue from (environment, task, random generator).
    solve: plays it, both sides.
  """

  dialogue: Callable[..., tau2_dialogue.ScriptedDialogue]
  solve: Callable[..., dialogue.End]


WRITERS: Mapping[str, DialogueWriter] = {
    'telecom': DialogueWriter(
        telecom_agent.TelecomDialogue, telecom_agent.solve),
    'airline': DialogueWriter(
        airline_agent.AirlineDialogue, airline_agent.solve),
    'retail': DialogueWriter(
        retail_agent.RetailDialogue, retail_agent.solve)}


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of the config; `synthesize` explains them."""

  seed: int
  domains: tuple[str, ...]
  env: Mapping[str, Any]
  per_task: int
  splits_train: tuple[str, ...]
  num_new: int
  judged_on: str
  drop_flagged: bool


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return fields.read(Config, config, name=name)


def synthesize(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes the data stage; the chain runs it in place of `run.synthesize`.

  Config: `seed`; `domains` of the benchmark; `env`, options of the
  environments; `splits_train`, splits to write dialogues for; `num_new`, number
  of new tasks of each domain beside them; `per_task`, dialogues of each task;
  `judged_on`, the split that becomes the stage's `test`, without dialogues;
  `drop_flagged`, see `personal.flag_personal`.

  Raises:
    ValueError: another domain, or a split that holds tasks to be judged on.
  """
  config = read_config(config)
  check_config(config.domains, config.judged_on)
  envs = [tau2_domain.load(name, config.env, config.judged_on)
          for name in config.domains]
  for env in envs:
    check(env, (t for split in config.splits_train for t in env.tasks(split)),
          config.judged_on)
  stage = runs.start(workdir, 'data', config)
  if stage.done:
    return
  samples = {'train': [], 'test': []}
  for env in envs:
    tasks = [certify.with_certificate(env, task)
             for split in config.splits_train for task in env.tasks(split)]
    for sample in new_tasks(env, config.seed, config.num_new,
                            config.judged_on):
      if sample.task:
        tasks.append(sample.task)
      else:
        samples['train'].append(sample)
    samples['train'] += tqdm.tqdm(
        write(env, tasks, config.seed, config.per_task,
              judged_on=config.judged_on),
        total=len(tasks) * config.per_task, unit='dialogue',
        desc=f'data, {env.name}')
    samples['test'] += [sample_lib.Sample(certify.with_certificate(env, task))
                        for task in env.tasks(config.judged_on)]
  finish(stage, config, envs, samples)


def check_config(domains: Sequence[str], judged_on: str) -> None:
  """Raises ValueError for domains or a split that the benchmark lacks."""
  if strange := [d for d in domains if not d.startswith('tau2:')]:
    raise ValueError(f'config.domains has {strange}: this stage writes for '
                     f'tau2:{", tau2:".join(tau2_env.DOMAINS)} alone.')
  if judged_on not in tau2_domain.JUDGED_ON:
    raise ValueError('config.judged_on must be one of '
                     f'{tau2_domain.JUDGED_ON}, got {judged_on!r}.')


def finish(stage: runs.Run, config: Any,
           envs: Sequence[tau2_domain.Tau2Domain],
           samples: Mapping[str, Sequence[sample_lib.Sample]],
           **facts: Any) -> None:
  """Writes the samples that pass the gates, and a manifest with `facts`.

  Raises:
    ValueError: no sample to train on passes.
  """
  by_name = {env.name: env for env in envs}
  held = {env.name: held_out.of_benchmark(env, config.judged_on)
          for env in envs}
  samples, flagged = output.gate(samples, held, by_name,
                                 drop_flagged=config.drop_flagged)
  if not any(s.task for s in samples['train']):
    rejected = statistics.describe(samples['train'])['rejected']
    raise ValueError(f'Nothing is left to train on. Rejected: {rejected}.')
  output.write(stage, samples, by_name, seed=config.seed, flagged=flagged,
               **facts)


def new_tasks(env: tau2_domain.Tau2Domain, seed: int, count: int,
              judged_on: str = 'test') -> Iterator[sample_lib.Sample]:
  """Yields new certified tasks that are not in the benchmark's base set.

  Those of telecom are drawn from its own full set, those of the other domains
  are generated (`tasks.py`); rejected ones come with a reason.
  """
  if env.domain == 'telecom':
    for task in telecom_tasks.draw(env, seed, count):
      yield sample_lib.Sample(certify.with_certificate(env, task))
  else:
    yield from tau2_tasks.generate(env, seed, count, judged_on)


def check(env: tau2_domain.Tau2Domain, tasks: Iterable[types.Task],
          judged_on: str = 'test') -> None:
  """Raises ValueError if dialogues must not be written for one of the tasks.

  Nothing is ever written for the benchmark's test split, and for a run that
  is judged on its base set (train and test) nothing for either.
  """
  held = {task.id for split in ('test', judged_on)
          for task in env.tasks(split)}
  if off := [task.id for task in tasks if task.id in held]:
    raise ValueError(
        f'{len(off)} tasks are held out for evaluation (test split'
        f'{", and base" if judged_on == "base" else ""}), such as {off[0]!r}: '
        'nothing is ever written for those. Give splits without them in '
        'config.splits_train, or new tasks by config.num_new.')


def write(env: tau2_domain.Tau2Domain, tasks: Sequence[types.Task], seed: int,
          per_task: int, *, judged_on: str = 'test'
          ) -> Iterator[sample_lib.Sample]:
  """Writes dialogues; each is a function of (seed, task, number) alone.

  Args:
    env: a domain of the benchmark.
    tasks: tasks to write for.
    seed: seed of the words.
    per_task: dialogues for each task, no two alike.
    judged_on: the split that is held out, `test` or `base`.

  Yields:
    a sample for each dialogue: with task and messages if the benchmark's
    evaluator scores it 1, with worker and reason if it was dropped.

  Raises:
    ValueError: a task is held out.
  """
  check(env, tasks, judged_on)
  for task in tasks:
    seen = set()
    for i in range(per_task):
      sample = _write(env, task, seeds.seed_of(seed, task.id, i))
      text = jsons.dumps(sample.messages)
      if sample.task and text in seen:
        sample = sample_lib.Sample(rejection=types.Rejection(
            types.Worker.DUPLICATES, 'seen before', task.id))
      seen.add(text)
      yield sample


def _write(env: tau2_domain.Tau2Domain, task: types.Task, seed: int
           ) -> sample_lib.Sample:
  writer = WRITERS[env.domain]
  chat = writer.dialogue(env, task, random.Random(seed))
  try:
    end = writer.solve(chat)
  except replay.Unplayable as e:
    return sample_lib.Sample(rejection=types.Rejection(
        types.Worker.DIALOG_SYNTHESIS, 'unplayable', f'{task.id}: {e}'))
  score = env.score(task, chat.world, end.messages, end.reason)
  if score.reward != 1:
    failed = [clause for clause, ok in score.clauses.items() if not ok]
    return sample_lib.Sample(rejection=types.Rejection(
        types.Worker.TRAJECTORY_VALIDATION, 'the evaluator scores it 0',
        f'{task.id}: {score.error or failed or end.reason}'))
  return sample_lib.Sample(task, end.messages)
