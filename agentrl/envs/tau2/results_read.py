"""Reads dialogues from a results file of tau2-bench and scores them again.

Such a file is one JSON object: `info` (the two models and the limits), `tasks`,
and `simulations`, each with its messages and its verdict. `tau2 run` writes it;
`tau2 view`, `tau2 evaluate-trajs` and the leaderboard read it. The opposite
direction is `results_write.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
from typing import Any

from agentrl import resolve
from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import reward
from agentrl.envs.tau2 import env as tau2_env
from agentrl.envs.tau2 import package

Path = str | os.PathLike

# Ends of simulations in the versions 0.2.1 to 1.0.1 of the benchmark.
ENDS = ('user_stop', 'agent_stop', 'judge_stop', 'max_steps', 'timeout',
        'too_many_errors', 'agent_error', 'user_error', 'unexpected_error')
JUDGED = ('user_stop', 'agent_stop')  # any other end is worth 0
# Upstream does not count these in pass^k.
LOST = ('infrastructure_error', 'context_window_exceeded')
# The package's names of agent and user where no user takes part.
SOLO = ('llm_agent_solo', 'dummy_user')


@dataclasses.dataclass(frozen=True, slots=True)
class Setup:
  """Describes how the dialogues of a file were played.

  Attributes:
    agent, user: model of each side: its name, or a folder.
    trials: number of dialogues for each task.
    limits: limits of a dialogue.
    seed: seed of the run; with task and trial it identifies a dialogue; None
      if unknown.
    when: time of the evaluation, ISO 8601.
    commit: commit of the code.
    args: `agent` or `user` -> its sampling options.
  """

  agent: str
  user: str
  trials: int
  limits: dialogue.Limits
  seed: int | None
  when: str
  commit: str = 'unknown'
  args: Mapping[str, Mapping[str, types.Json]] = dataclasses.field(
      default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class File:
  """Holds a results file that was read; `ends`: how each simulation ended."""

  path: Path
  raw: Any  # the package's `Results`
  ends: tuple[str, ...]

  @property
  def domain(self) -> str:
    return self.raw.info.environment_info.domain_name

  @property
  def solo(self) -> bool:
    info = self.raw.info
    return (info.agent_info.implementation,
            info.user_info.implementation) == SOLO

  @property
  def setup(self) -> Setup:
    info = self.raw.info
    sides = {'agent': info.agent_info, 'user': info.user_info}
    return Setup(
        **{name: side.llm or side.implementation
           for name, side in sides.items()},
        args={name: side.llm_args or {} for name, side in sides.items()},
        trials=info.num_trials, seed=info.seed, commit=info.git_commit,
        limits=dialogue.Limits(info.max_steps, info.max_errors),
        when=self.raw.timestamp or '')


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
  """Prefixes the message of a ValueError with the place where it occurred."""
  try:
    yield
  except ValueError as e:
    raise ValueError(f'{where}: {e}') from e


# Replay.


def rescore(env: tau2_env.Tau2, task: types.Task,
            messages: Sequence[types.Message], ended: str = 'user_stop'
           ) -> types.Score:
  """Judges a recorded dialogue by playing its calls again.

  Raises:
    ValueError: see `replay`.
  """
  world = env.start(task)
  if ended in JUDGED:
    replay(world, messages)
  return env.score(task, world, messages, ended)


def replay(world: env_lib.World, messages: Sequence[types.Message]) -> None:
  """Makes the calls of a dialogue in a fresh world of its task.

  Raises:
    ValueError: a call gets another result than the recorded one (compared as
      JSON where it is JSON, as the benchmark does), or has no result.
  """
  queue = iter(messages)
  for message in queue:
    if message.role == 'tool':
      raise ValueError(f'The result {message.id!r} answers no call: a result '
                       'follows its call, in the order of the calls.')
    calls = message.tool_calls
    told = itertools.islice(queue, len(calls))
    results = world.execute(calls) if calls else ()
    for call, now, then in itertools.zip_longest(calls, results, told):
      _compare(call, now, then)


def _compare(call: types.ToolCall, now: types.Message,
             then: types.Message | None) -> None:
  text = f'{call.name}({short(dict(call.arguments))}) of the {call.requestor}'
  if then is None or then.role != 'tool' or then.id != call.id:
    raise ValueError(f'The call {text} has no result of its id {call.id!r} '
                     'after it: the dialogue was cut or put in another order.')
  if _plain(now.content) != _plain(then.content):
    raise ValueError(
        f'The call {text} was answered {short(then.content)}, but is now '
        f'answered {short(now.content)}: the dialogue was recorded with '
        'another version of tools or data, or was edited.')


def _plain(content: str | None) -> types.Json:
  try:
    return json.loads(content or '')
  except ValueError:
    return content


def short(value: Any, most: int = 120) -> str:
  text = repr(value)
  return text if len(text) <= most else text[:most - 3] + '...'


# Import.


def read(path: Path) -> File:
  """Reads a results file of the installed version or a similar one.

  Raises:
    ValueError: the file is absent, empty, cut off, of another shape, of an
      unknown domain, or holds no simulations.
  """
  path = pathlib.Path(path)
  record = _record(path)
  if lacks := [k for k in ('info', 'tasks', 'simulations') if k not in record]:
    raise ValueError(
        f'{path} is no results file of tau2-bench: it lacks {", ".join(lacks)} '
        f'and has {short(list(record))}. Give the file that `tau2 run` wrote.')
  if not isinstance(record['simulations'], list) or not record['simulations']:
    raise ValueError(
        f'{path} holds no simulations: the run has not finished any, or it '
        'keeps them in a folder beside (save it as one file: '
        "Results.load(path).save(path, format='json')).")
  ends, simulations = [], []
  for i, simulation in enumerate(record['simulations']):
    with naming(f'{path}: simulations.{i}'):
      ends.append(_end(simulation))
    # Newer versions have more ends than the package that checks the shape.
    simulations.append({**simulation, 'termination_reason': 'user_stop'})
  raw = _validated(path, {**record, 'simulations': simulations})
  domain = raw.info.environment_info.domain_name
  if domain not in package.DOMAINS:
    raise ValueError(f'{path} is of the domain {domain!r}, which is not played '
                     'here.' + resolve.hint(domain, package.DOMAINS))
  return File(path, raw, tuple(ends))


def _record(path: pathlib.Path) -> dict[str, Any]:
  """Returns the JSON object of a file."""
  if not path.is_file():
    raise ValueError(f'There is no file {path}: give the results file that '
                     '`tau2 run` wrote, or that was exported from here.')
  try:
    text = path.read_text()
    record = json.loads(text)
  except ValueError as e:
    state = 'is not whole JSON' if text.strip() else 'is empty'
    raise ValueError(f'{path} {state} ({e}): it was cut off while it was '
                     'written or copied, or is no results file. Give the file '
                     'that `tau2 run` wrote.') from e
  if not isinstance(record, dict):
    raise ValueError(f'{path} is no results file of tau2-bench: it holds a '
                     f'JSON {type(record).__name__}, not an object. Give the '
                     'file that `tau2 run` wrote.')
  return record


def _end(simulation: Any) -> str:
  if not isinstance(simulation, dict):
    raise ValueError(f'is no JSON object, but {short(simulation)}.')
  ended = simulation.get('termination_reason')
  if ended not in ENDS + LOST:
    raise ValueError(f'ended by {ended!r}, which no version of tau2-bench up '
                     'to 1.0.1 knows.' + resolve.hint(ended, ENDS + LOST))
  return ended


def _validated(path: pathlib.Path, record: Mapping[str, Any]) -> Any:
  raw = package.part('data_model.simulation')
  try:
    return raw.Results.model_validate(record)
  except ValueError as e:  # pydantic's, which lists all errors in many lines
    first, *more = e.errors()
    place = '.'.join(map(str, first['loc']))
    raise ValueError(
        f'{path} is not of the shape that {package.version()} reads: '
        f'{place}: {first["msg"]}' + f' (and {len(more)} more)' * bool(more)
        + '. Was it written by another version, or edited?') from e


def episodes(env: tau2_env.Tau2, file: File, fresh: bool = False
            ) -> tuple[list[types.Task], list[types.Episode]]:
  """Returns the tasks of a file and its simulations as episodes.

  The episodes have no traces.

  Args:
    env: environment of the domain of the file.
    file: the file that `read` returned.
    fresh: scores each simulation again, see `rescore`; otherwise the verdict
      of the file is kept.

  Returns:
    P tasks, as the file defines them, and P * G episodes: the trials of a
    task side by side. A trial that the file lacks, or that the benchmark gave
    up, counts as lost to infrastructure, not as reward 0.

  Raises:
    ValueError: neither the file nor the benchmark defines a task, two
      simulations are of one trial, one has no verdict, or one goes differently
      when it is scored again.
  """
  tasks = _tasks(env, file)
  by_task: dict[str, dict[int, types.Episode]] = {key: {} for key in tasks}
  for raw, ended in zip(file.raw.simulations, file.ends):
    trials = by_task[raw.task_id]
    trial = len(trials) if raw.trial is None else raw.trial
    where = f'{file.path}: trial {trial} of task {raw.task_id}'
    if trial in trials or trial < 0:
      raise ValueError(f'{where} is there twice, or below 0: number the '
                       'simulations of a task 0, 1, 2 by their field `trial`.')
    with naming(where):
      trials[trial] = _episode(env, tasks[raw.task_id], ended, fresh,
                               raw.model_copy(update={'trial': trial}))
  count = max(file.setup.trials, *(1 + max(t, default=-1)
                                   for t in by_task.values()))
  return list(tasks.values()), [
      by_task[key].get(g) or _lost(key, g, 'It is not in the file.')
      for key in tasks for g in range(count)]


def _tasks(env: tau2_env.Tau2, file: File) -> dict[str, types.Task]:
  """Returns the tasks of the file and of its simulations, by id."""
  tasks = {}
  for raw in file.raw.tasks:
    with naming(f'{file.path}: task {raw.id}'):
      tasks[raw.id] = _task(env, raw)
  for simulation in file.raw.simulations:
    if simulation.task_id not in tasks:
      with naming(str(file.path)):
        tasks[simulation.task_id] = env.by_id(simulation.task_id)
  return tasks


def _task(env: tau2_env.Tau2, raw: Any) -> types.Task:
  told = raw.user_scenario.instructions
  record = raw.model_dump(mode='json')
  if isinstance(told, str):  # such as our own tasks after an export
    record['user_scenario']['instructions'] = dict(
        domain=env.domain, reason_for_call=told, task_instructions='')
  try:
    task = env.task(record)
  except Exception as e:
    raise ValueError(f'It is not of the form of the tasks of {env.domain} '
                     f'({type(e).__name__}: {e}).') from e
  if not isinstance(told, str):
    return task
  return dataclasses.replace(task, scenario=told, brief=told)


def _episode(env: tau2_env.Tau2, task: types.Task, ended: str, fresh: bool,
             raw: Any) -> types.Episode:
  """Converts one simulation `raw` of a task."""
  messages = tuple(_message(m) for outer in raw.messages
                   for m in getattr(outer, 'tool_messages', [outer]))
  if ended in LOST or raw.skipped or not messages:
    return _lost(task.id, raw.trial, f'The benchmark gave it up: {ended}.')
  if fresh:
    score = rescore(env, task, messages, ended)
  elif raw.reward_info is None:
    raise ValueError('It has no verdict (reward_info): score it anew.')
  else:
    score = _score(raw.reward_info, ended)
  end = dialogue.End(ended, messages, dialogue.count_steps(messages),
                     sum(m.error for m in messages))
  outcome, score, note = reward.settle(env, task, end, score)
  return types.Episode(
      task_id=task.id, trial=raw.trial, messages=messages, ended=ended,
      outcome=outcome, score=score, steps=end.steps, note=note)


def _lost(task_id: str, trial: int, note: str) -> types.Episode:
  return types.Episode(
      task_id=task_id, trial=trial, messages=(), steps=0, note=note,
      ended='infra', outcome=types.Outcome.INFRA, score=types.Score(0.0))


def _score(info: Any, ended: str) -> types.Score:
  """Converts a verdict; without a stop the benchmark reads no database."""
  parts = {k.value: v for k, v in (info.reward_breakdown or {}).items()}
  db = info.db_check and float(info.db_check.db_match)
  return types.Score(info.reward, parts, db=db if ended in JUDGED else 0.0)


def _message(raw: Any) -> types.Message:
  if raw.role == 'system':
    raise ValueError('It has a system prompt among its messages, where '
                     'tau2-bench keeps none: remove it.')
  if raw.role == 'tool':
    return types.Message('tool', raw.content, id=raw.id,
                         requestor=raw.requestor, error=raw.error)
  calls = tuple(types.ToolCall(c.name, c.arguments, c.id, c.requestor)
                for c in raw.tool_calls or ())
  return types.Message(raw.role, raw.content, calls, requestor=raw.role)
