"""The data stage for tau2-bench: dialogues for its tasks, and for new ones.

No LLM takes part: `tau2_telecom.py`, `tau2_airline.py` and `tau2_retail.py`
speak for agent and user. What the benchmark's evaluator does not score 1 is
dropped. Tasks that the run will be judged on get a certificate, but no
dialogue is ever written for them. The folder is that of the data engine
(`run.py`): dialogues, tasks as JSON lines, figures, manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import random
from typing import Any

import ml_collections
import tqdm

from agentrl import files
from agentrl import jsons
from agentrl import resolve
from agentrl import seeds
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.check import held_out as guards
from agentrl.eigendata.scale import statistics
from agentrl.eigendata.tau2 import tasks as tau2_tasks
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2
from agentrl.envs.tau2 import task_format as tau2_form
from agentrl.stage import fields
from agentrl.stage import runs

TRANSFER = types.ToolCall('transfer_to_human_agents',
                          {'summary': 'The customer asks for a human.'})


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
  environments; `splits_train`, those to write dialogues for; `num_new`, new
  tasks of each domain beside them; `per_task`, dialogues of each task;
  `judged_on`, the split that becomes the stage's `test`: nothing is written
  for its tasks; `drop_flagged`, see `guards.look`.

  Raises:
    ValueError: another domain, or a split that holds tasks to be judged on.
  """
  config = read_config(config)
  check_config(config.domains, config.judged_on)
  envs = [env_load.load(name, config.env) for name in config.domains]
  for env in envs:
    check(env, (t for split in config.splits_train for t in env.tasks(split)),
          config.judged_on)
  stage = runs.start(workdir, 'data', config)
  if stage.done:
    return
  found = {'train': [], 'test': []}
  for env in envs:
    tasks = [certified(env, task) for split in config.splits_train
             for task in env.tasks(split)]
    for sample in new_tasks(env, config.seed, config.num_new,
                            config.judged_on):
      if sample.task:
        tasks.append(sample.task)
      else:
        found['train'].append(sample)
    found['train'] += tqdm.tqdm(
        write(env, tasks, config.seed, config.per_task,
              judged_on=config.judged_on),
        total=len(tasks) * config.per_task, unit='dialogue',
        desc=f'data, {env.name}')
    found['test'] += [sample_lib.Sample(certified(env, task))
                      for task in env.tasks(config.judged_on)]
  finish(stage, config, envs, found)


def check_config(domains: Sequence[str], judged_on: str) -> None:
  """Raises ValueError for domains or a split that are not the benchmark's."""
  if strange := [d for d in domains if not d.startswith('tau2:')]:
    raise ValueError(f'config.domains has {strange}: this stage writes for '
                     f'tau2:{", tau2:".join(tau2.DOMAINS)} alone.')
  if judged_on not in guards.JUDGED_ON:
    raise ValueError(f'config.judged_on must be one of {guards.JUDGED_ON}, got '
                     f'{judged_on!r}.')


def finish(stage: runs.Run, config: Any, envs: Sequence[tau2.Tau2],
           found: Mapping[str, Sequence[sample_lib.Sample]],
           **facts: Any) -> None:
  """What passes the gates of `guards.py` goes to files, `facts` beside them
  into the manifest.

  Samples of `train` with a certificate are tasks to train on, those with
  messages are dialogues; most are both.

  Raises:
    ValueError: nothing passes.
  """
  train, flagged = guards.guard(
      found['train'],
      {e.name: guards.of_benchmark(e, config.judged_on) for e in envs},
      {e.name: e for e in envs}, drop_flagged=config.drop_flagged)
  found = {**found, 'train': train}
  stats = {k: statistics.describe(samples) for k, samples in found.items()}
  if not stats['train']['kept']:
    raise ValueError('Nothing is left to train on. Rejected: '
                     f'{stats["train"]["rejected"]}.')
  for split, samples in found.items():
    # A task stands there once, however many dialogues it has.
    kept = {(s.task.domain, s.task.id): s.task for s in samples
            if s.task and s.task.certificate}
    files.write_lines(stage.folder / f'tasks_{split}.jsonl',
                        map(jsons.dumps, kept.values()))
    tau2_form.write(stage.folder, split, kept.values())
  made, shards = {}, {}
  if any(s.messages for s in train):
    made[episodes.FOLDER], shards = episodes.write(stage.folder, (
        episodes.record(s.task, s.messages, {'repaired': ()})
        for s in train if s.messages))
  files.write_json(stage.folder / 'stats.json', stats)
  stage.finish(
      made, files=shards, seed=config.seed,
      flagged=flagged, **facts,
      environments={env.name: env.fingerprint() for env in envs},
      **{split: {k: figures[k] for k in
                 ('kept', 'tried', 'rejected', 'mutants', 'floors', 'kinds')}
         for split, figures in stats.items()})


def new_tasks(env: tau2.Tau2, seed: int, count: int,
              judged_on: str = 'test') -> Iterator[sample_lib.Sample]:
  """New certified tasks, none of which stands in the benchmark's base set.

  Telecom's are drawn from its own full set, those of the other domains are
  generated (`tau2_tasks.py`); rejected ones come with a reason.
  """
  if env.domain != 'telecom':
    yield from tau2_tasks.generate(env, seed, count, judged_on)
    return
  base = {task.id for task in env.tasks('base')}
  rest = [task for task in env.tasks('full') if task.id not in base]
  if count > len(rest):
    raise ValueError(f'config.num_new={count}, but telecom has {len(rest)} '
                     'tasks beside its base set: ask for fewer.')
  for task in random.Random(f'{seed} telecom').sample(rest, count):
    yield sample_lib.Sample(certified(env, task))


def check(env: tau2.Tau2, tasks: Iterable[types.Task],
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


def write(env: tau2.Tau2, tasks: Sequence[types.Task], seed: int,
          per_task: int, *, judged_on: str = 'test'
          ) -> Iterator[sample_lib.Sample]:
  """Dialogues of each task; each a function of (seed, task, number) alone.

  Args:
    env: a domain of the benchmark.
    tasks: what to write for.
    seed: of the words.
    per_task: dialogues for each task, no two alike.
    judged_on: the split that is held out, `test` or `base`.

  Yields:
    a sample for each dialogue: with task and messages if the benchmark's
    evaluator scores it 1, with worker and reason if it was dropped.

  Raises:
    ValueError: a task that is held out.
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


def _write(env: tau2.Tau2, task: types.Task, seed: int) -> sample_lib.Sample:
  writer = f'agentrl.eigendata.tau2.{env.domain}.dialogue'
  talk = resolve.name(f'{writer}:Talk')(env, task, random.Random(seed))
  try:
    end = resolve.name(f'{writer}:solve')(talk)
  except replay.Unplayable as e:
    return sample_lib.Sample(rejection=types.Rejection(
        types.Worker.DIALOG_SYNTHESIS, 'unplayable', f'{task.id}: {e}'))
  score = env.score(task, talk.world, end.messages, end.reason)
  if score.reward != 1:
    failed = [clause for clause, ok in score.clauses.items() if not ok]
    return sample_lib.Sample(rejection=types.Rejection(
        types.Worker.TRAJECTORY_VALIDATION, 'the evaluator scores it 0',
        f'{task.id}: {score.error or failed or end.reason}'))
  return sample_lib.Sample(task, end.messages)


def certified(env: tau2.Tau2, task: types.Task) -> types.Task:
  """The task with a certificate: what its evaluator does with known runs.

  The evaluator is the benchmark's and stays as it is; a mutant that it lets
  pass is reported, not mended.
  """
  gold = [types.ToolCall(a.name, a.arguments, requestor=a.requestor)
          for a in task.criteria.actions]
  facts = ' and '.join(task.criteria.communicate_info)
  told = [types.Message('assistant', f'It is {facts}.')] if facts else []
  passed, after = _judge(env, task, [*map(_calls, gold), *told])
  no = types.Message('assistant', 'I am sorry, I cannot help with that.')
  floors = {'noop': [], 'refuse': [no], 'transfer': [_calls(TRANSFER)]}
  killed, equivalent, survivors = 0, 0, []
  mutants = _mutants(gold)
  for name, calls in mutants.items():
    lives, state = _judge(env, task, [*map(_calls, calls), *told])
    if not lives:
      killed += 1
    elif state == after:
      equivalent += 1
    else:
      survivors.append(name)
  return dataclasses.replace(task, certificate=types.Certificate(
      gold=(passed,), orders=(),
      floors={k: _judge(env, task, moves)[0] for k, moves in floors.items()},
      mutants=len(mutants), killed=killed, equivalent=equivalent,
      survivors=tuple(survivors),
      score=round(killed / max(1, killed + len(survivors)), 4),
      fingerprint=env.fingerprint()))


def _calls(call: types.ToolCall) -> types.Message:
  return types.Message(call.requestor, tool_calls=(call,))


def _mutants(gold: Sequence[types.ToolCall]
             ) -> Mapping[str, list[types.ToolCall]]:
  """The gold run with one call left out, or made twice."""
  found = {}
  for i, call in enumerate(gold):
    name = f'{call.name} ({i})'
    found[f'{name} deleted'] = [*gold[:i], *gold[i + 1:]]
    found[f'{name} doubled'] = [*gold[:i + 1], *gold[i:]]
  return found


def _judge(env: tau2.Tau2, task: types.Task,
           moves: Sequence[types.Message]) -> tuple[bool, Any]:
  """Whether the moves earn 1, and the state that they lead to."""
  stop = types.Message('user', dialogue.STOP)
  world, played = replay.replay(env, task, [*moves, stop])
  score = env.score(task, world, played, 'user_stop')
  return score.reward == 1, env.state(world)
