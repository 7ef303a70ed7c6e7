"""The data stage for tau2-bench telecom: dialogues for its train split.

No LLM takes part: see `tau2_telecom.py`. What the benchmark's evaluator does
not score 1 is dropped. Tasks of the test split get a certificate, but no
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

from agentrl import metrics
from agentrl import runs
from agentrl import types
from agentrl.data import episodes
from agentrl.data import replay
from agentrl.eigendata import run as run_lib
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata import tau2_telecom
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import tau2

DOMAIN = 'tau2:telecom'
TRANSFER = types.ToolCall('transfer_to_human_agents',
                          {'summary': 'The customer asks for a human.'})


def synthesize(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes the data stage; the chain runs it in place of `run.synthesize`.

  Config: `seed`; `domains`, ('tau2:telecom',); `env`, options of the
  environment; `splits_train`, those to write dialogues for; `per_task`,
  dialogues of each task.

  Raises:
    ValueError: another domain, or a split that holds test tasks.
  """
  if tuple(config.domains) != (DOMAIN,):
    raise ValueError(f'config.domains={tuple(config.domains)}: dialogues are '
                     f'written without an LLM for {DOMAIN} alone.')
  env = env_lib.load(DOMAIN, config.env)
  tasks = [t for split in config.splits_train for t in env.tasks(split)]
  check(env, tasks)
  stage = runs.start(workdir, 'data', config)
  if stage.done:
    return
  tasks = [certified(env, task) for task in tasks]
  bar = tqdm.tqdm(write(env, tasks, config.seed, config.per_task),
                  total=len(tasks) * config.per_task, desc='data, train',
                  unit='dialogue')
  found = {'train': list(bar), 'test': [
      sample_lib.Sample(certified(env, t)) for t in env.tasks('test')]}
  for split, samples in found.items():
    # A task stands there once, however many dialogues it has.
    kept = {s.task.id: s.task for s in samples if s.task}
    metrics.write_lines(stage.folder / f'tasks_{split}.jsonl',
                        map(types.dumps, kept.values()))
  digest, files = episodes.write(stage.folder, (
      episodes.record(s.task, s.messages, {'repaired': ()})
      for s in found['train'] if s.task))
  stats = {k: run_lib.describe(samples) for k, samples in found.items()}
  metrics.write_json(stage.folder / 'stats.json', stats)
  stage.finish(
      {episodes.FOLDER: digest}, files=files, seed=config.seed,
      environments={DOMAIN: env.fingerprint()},
      **{split: {k: figures[k] for k in
                 ('kept', 'tried', 'rejected', 'mutants', 'floors', 'kinds')}
         for split, figures in stats.items()})


def check(env: tau2.Tau2, tasks: Iterable[types.Task]) -> None:
  """Raises ValueError if dialogues must not or cannot be written for a task."""
  if env.name != DOMAIN:
    raise ValueError(f'Dialogues are written for {DOMAIN}, not {env.name}.')
  if held := [t.id for t in tasks if env.split(t.id) == 'test']:
    raise ValueError(
        f'{len(held)} tasks are of the benchmark\'s test split, such as '
        f'{held[0]!r}: nothing is ever written for those. Give tasks of '
        'splits without them, such as train or small.')


def write(env: tau2.Tau2, tasks: Sequence[types.Task], seed: int,
          per_task: int) -> Iterator[sample_lib.Sample]:
  """Dialogues of each task; each a function of (seed, task, number) alone.

  Args:
    env: the benchmark's telecom domain.
    tasks: what to write for.
    seed: of the words.
    per_task: dialogues for each task, no two alike.

  Yields:
    a sample for each dialogue: with task and messages if the benchmark's
    evaluator scores it 1, with worker and reason if it was dropped.

  Raises:
    ValueError: a task of the test split, or another domain.
  """
  check(env, tasks)
  for task in tasks:
    seen = set()
    for i in range(per_task):
      sample = _write(env, task, sample_lib.seed_of(seed, task.id, i))
      text = types.dumps(sample.messages)
      if sample.task and text in seen:
        sample = sample_lib.Sample(worker='Duplicates', reason='seen before',
                                   detail=task.id)
      seen.add(text)
      yield sample


def _write(env: tau2.Tau2, task: types.Task, seed: int) -> sample_lib.Sample:
  talk = tau2_telecom.Talk(env, task, random.Random(seed))
  try:
    end = tau2_telecom.solve(talk)
  except replay.Unplayable as e:
    return sample_lib.Sample(worker='DialogSynthesis', reason='unplayable',
                             detail=f'{task.id}: {e}')
  score = env.score(task, talk.world, end.messages, end.reason)
  if score.reward != 1:
    failed = [clause for clause, ok in score.clauses.items() if not ok]
    return sample_lib.Sample(
        worker='TrajectoryValidation', reason='the evaluator scores it 0',
        detail=f'{task.id}: {score.error or failed or end.reason}')
  return sample_lib.Sample(task, end.messages)


def certified(env: tau2.Tau2, task: types.Task) -> types.Task:
  """The task with a certificate: what its evaluator does with known runs.

  The evaluator is the benchmark's and stays as it is; a mutant that it lets
  pass is reported, not mended.
  """
  gold = [types.ToolCall(a.name, a.arguments, requestor=a.requestor)
          for a in task.criteria.actions]
  passed, after = _judge(env, task, [_calls(c) for c in gold])
  no = types.Message('assistant', 'I am sorry, I cannot help with that.')
  floors = {'noop': [], 'refuse': [no], 'transfer': [_calls(TRANSFER)]}
  killed, equivalent, survivors = 0, 0, []
  mutants = _mutants(gold)
  for name, calls in mutants.items():
    lives, state = _judge(env, task, [_calls(c) for c in calls])
    if not lives:
      killed += 1
    elif state == after:
      equivalent += 1
    else:
      survivors.append(name)
  return dataclasses.replace(task, certificate={
      'gold': [passed],
      'floors': {k: _judge(env, task, moves)[0] for k, moves in floors.items()},
      'mutants': len(mutants), 'killed': killed, 'equivalent': equivalent,
      'survivors': survivors,
      'score': round(killed / max(1, killed + len(survivors)), 4),
      'fingerprint': env.fingerprint()})


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
  state = (world.environment.get_db_hash(),
           world.environment.get_user_db_hash())
  return env.score(task, world, played, 'user_stop').reward == 1, state
