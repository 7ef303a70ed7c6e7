"""Measures the environments of tau2-bench: ours against the package's own.

  bash scripts/install_tau2.sh && .venv/bin/pip install pandas
  .venv/bin/python benchmarks/env_bench.py [--out=benchmarks/results/x.json]

For each domain, in one process, on the gold runs of its base tasks:
  ready      time to start an environment in the initial state of a task [ms]
  calls      gold tool calls a second
  judged     time to judge a finished dialogue [ms]
  episodes   whole scripted dialogues a second, one after the other, and 64 at
             once through `rollout.play`
and the growth of the process's memory over many more episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import json
import os
import pathlib
import platform
import time
from typing import Any

from absl import app
from absl import flags

from agentrl import files
from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import replay
from agentrl.envs.tau2 import env as tau2_env
from agentrl.envs.tau2 import package
from agentrl.envs.tau2 import score
from agentrl.eval import floors
from agentrl.stage import runs

OUT = flags.DEFINE_string('out', '', 'File to write the figures to as JSON.')
EPISODES = flags.DEFINE_integer('episodes', 10_000,
                                'Number of episodes of the memory test.')
PATIENCE = 5.0  # seconds for each figure of the package


def timed(work: Callable[[Any], object], items: Sequence[Any],
          seconds: float = 2.0) -> float:
  """Returns mean seconds of `work(item)`, cycling over the items for a time."""
  work(items[0])
  start, count = time.perf_counter(), 0
  while (spent := time.perf_counter() - start) < seconds:
    work(items[count % len(items)])
    count += 1
  return spent / count


def call_rate(start: Callable[[Any], Any], call: Callable[[Any, Any], object],
              tasks: Sequence[types.Task], seconds: float) -> float:
  """Returns gold calls of the tasks a second; starting is not timed."""
  spent, count, i = 0.0, 0, 0
  while spent < seconds and i < 10 * len(tasks):
    task = tasks[i % len(tasks)]
    world, i = start(task), i + 1
    begun = time.perf_counter()
    for action in task.criteria.actions:
      call(world, action)
    spent += time.perf_counter() - begun
    count += len(task.criteria.actions)
  return count / spent


def gold(env: tau2_env.Tau2, task: types.Task
        ) -> tuple[Any, list[types.Message]]:
  """Plays the gold calls and tells the facts; returns (world, messages)."""
  moves = [types.Message(a.requestor, tool_calls=(types.ToolCall(
      a.name, a.arguments, requestor=a.requestor),))
           for a in task.criteria.actions]
  told = '; '.join(['Done.', *task.criteria.communicate_info])
  return replay.replay(env, task, [
      *moves, types.Message('assistant', told),
      types.Message('user', dialogue.STOP)])


def ours(env: tau2_env.Tau2, tasks: Sequence[types.Task]) -> dict[str, float]:
  """Measures our environment."""
  done = {t.id: gold(env, t) for t in tasks}
  def judge(task: types.Task) -> None:
    world, messages = done[task.id]
    assert env.score(task, world, messages, 'user_stop').reward == 1
  ready = timed(env.start, tasks)
  judged = timed(judge, tasks)
  rate = call_rate(env.start, lambda world, a: world.execute([types.ToolCall(
      a.name, a.arguments, requestor=a.requestor)]), tasks, 1.0)
  def one(task: types.Task) -> None:
    world, messages = gold(env, task)
    assert env.score(task, world, messages, 'user_stop').reward == 1
  many = [tasks[i % len(tasks)] for i in range(64)]
  at_once = timed(lambda _: floors.run(
      env, many, floors.gold(env), limits=dialogue.Limits()), [0]) / 64
  return {'ready_ms': 1e3 * ready, 'judged_ms': 1e3 * judged,
          'calls_per_s': rate, 'episodes_per_s': 1 / timed(one, tasks),
          'episodes_per_s_64_at_once': 1 / at_once}


def theirs(domain: str, env: tau2_env.Tau2, tasks: Sequence[types.Task]
          ) -> dict[str, float]:
  """Measures the package's environment and evaluators."""
  module = package.part(f'domains.{domain}.environment')
  graders = [getattr(package.part(f'evaluator.evaluator_{name}'), cls)
             for name, cls in (('action', 'ActionEvaluator'),
                               ('communicate', 'CommunicateEvaluator'))]
  by_state = package.part('evaluator.evaluator_env').EnvironmentEvaluator
  raw = {t.id: score.raw_task(t) for t in tasks}
  done = {t.id: [score.raw_message(m) for m in gold(env, t)[1]]
          for t in tasks}

  def start(task: types.Task) -> Any:
    made, state = module.get_environment(), raw[task.id].initial_state
    made.set_state(getattr(state, 'initialization_data', None),
                   getattr(state, 'initialization_actions', None), [])
    return made

  def play(task: types.Task) -> None:
    made = start(task)
    for message in done[task.id]:
      for call in getattr(message, 'tool_calls', None) or ():
        made.get_response(call)

  def judge(task: types.Task) -> None:
    reward = by_state.calculate_reward(
        module.get_environment, raw[task.id], done[task.id]).reward
    for grader in graders:
      reward *= grader.calculate_reward(raw[task.id], done[task.id]).reward

  call = package.part('data_model.message').ToolCall
  rate = call_rate(start, lambda made, a: made.get_response(call(
      name=a.name, arguments=dict(a.arguments), requestor=a.requestor)),
      tasks[:20], 1.0)
  ready = timed(start, tasks, PATIENCE)
  played = timed(play, tasks, PATIENCE)
  judged = timed(judge, tasks, PATIENCE)
  return {'ready_ms': 1e3 * ready, 'judged_ms': 1e3 * judged,
          'calls_per_s': rate, 'episodes_per_s': 1 / (played + judged)}


def resident_mib() -> float:
  """Returns the memory that the process holds now [MiB]."""
  pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def growth(env: tau2_env.Tau2, tasks: Sequence[types.Task]) -> dict[str, float]:
  """Measures the memory before and after many episodes [MiB]."""
  def play(count: int) -> None:
    for i in range(count):
      world, messages = gold(env, tasks[i % len(tasks)])
      env.score(tasks[i % len(tasks)], world, messages, 'user_stop')
  play(500)
  before = resident_mib()
  play(EPISODES.value)
  return {'before_mib': before, 'after_mib': resident_mib()}


def main(argv: Sequence[str]) -> None:
  if argv[1:]:
    raise app.UsageError(f'Unexpected arguments {argv[1:]}.')
  figures = {'machine': platform.platform(), 'cpus': os.cpu_count(),
             'versions': runs.versions(), 'package': package.version()}
  for domain in tau2_env.DOMAINS:
    env = tau2_env.Tau2(domain, 'brief')
    tasks = env.tasks('base')
    figures[domain] = {'ours': ours(env, tasks),
                       'package': theirs(domain, env, tasks),
                       'memory': growth(env, tasks)}
    print(domain)
    for name, value in figures[domain]['ours'].items():
      other = figures[domain]['package'].get(name)
      beside = f'package {other:10.2f}' if other else ''
      print(f'  {name:26} ours {value:10.2f}  {beside}')
    memory = figures[domain]['memory']
    print(f'  {EPISODES.value} more episodes: {memory["before_mib"]:.0f} -> '
          f'{memory["after_mib"]:.0f} MiB', flush=True)
  if OUT.value:
    files.write_json(OUT.value, json.loads(json.dumps(figures)))


if __name__ == '__main__':
  app.run(main)
