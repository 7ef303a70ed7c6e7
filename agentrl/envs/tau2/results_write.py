"""Writes episodes as a results file of tau2-bench; see `results_read.py`.

Fields of the file that we do not know get neutral values: all times are that of
the evaluation, a microsecond apart to keep the messages in order; durations and
costs are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
import datetime
from typing import Any
import uuid

from agentrl import jsons
from agentrl import types
from agentrl.envs import outcomes
from agentrl.envs.tau2 import env as tau2_env
from agentrl.envs.tau2 import package
from agentrl.envs.tau2 import results_read
from agentrl.envs.tau2 import score


def to_json(env: tau2_env.Tau2, tasks: Sequence[types.Task],
            episodes: Sequence[types.Episode], setup: results_read.Setup
           ) -> types.Json:
  """Returns the results file of episodes.

  Episodes that are no trials (`envs/outcomes.py`: lost to infrastructure, or
  without a verdict) are left out. All others are played again, so the file
  holds the verdicts of the benchmark's own evaluator.

  Args:
    env: environment that the episodes were played in.
    tasks: tasks of the episodes, all of one domain.
    episodes: episodes in any order.
    setup: how the episodes were played.

  Raises:
    ValueError: an episode goes differently, or has another score, when it is
      played again.
  """
  raw = package.part('data_model.simulation')
  known = {task.id: task for task in tasks}
  raw_tasks = {task.id: _raw_task(env, task) for task in tasks}
  kept = [e for e in episodes if outcomes.RULES[e.outcome].evaluated]
  # In the package, once a task has broken the VPN it stays broken for all
  # episodes evaluated later in the same process: such tasks come last.
  kept.sort(key=lambda e: _breaks_vpn(known[e.task_id]))
  file = raw.Results(
      timestamp=setup.when, info=_info(env, setup),
      tasks=list(raw_tasks.values()), simulations=[
          _simulation(env, known[e.task_id], raw_tasks[e.task_id], e, setup)
          for e in kept])
  return file.model_dump(mode='json')


def _raw_task(env: tau2_env.Tau2, task: types.Task) -> Any:
  """Returns the benchmark's own task if ours is unchanged, else converts."""
  bench = package.load(env.domain, env.solo)
  if task.id in bench.records:
    own = env.by_id(task.id)
    if ((own.scenario, own.criteria, own.initial_state)
        == (task.scenario, task.criteria, task.initial_state)):
      return bench.task(task.id)
  return score.raw_task(task)


def _breaks_vpn(task: types.Task) -> bool:
  state = task.initial_state or {}
  return any(call['func_name'] == 'break_vpn'
             for call in state.get('initialization_actions') or ())


def _info(env: tau2_env.Tau2, setup: results_read.Setup) -> Any:
  raw = package.part('data_model.simulation')
  bench = package.load(env.domain, env.solo)
  agent, user = results_read.SOLO if env.solo else ('agentrl', 'agentrl')
  args = lambda side: {**setup.args.get(side, {}), 'prompt': env.style}
  return raw.Info(
      git_commit=setup.commit, num_trials=setup.trials, seed=setup.seed,
      max_steps=setup.limits.max_steps, max_errors=setup.limits.max_errors,
      environment_info=dict(domain_name=env.domain, policy=bench.policy),
      agent_info=raw.AgentInfo(
          implementation=agent, llm=setup.agent, llm_args=args('agent')),
      user_info=raw.UserInfo(
          implementation=user, llm=setup.user, llm_args=args('user'),
          global_simulation_guidelines=(
              bench.guide if env.style == 'full' else None)))


def _simulation(env: tau2_env.Tau2, task: types.Task, raw_task: Any,
                episode: types.Episode, setup: results_read.Setup) -> Any:
  raw = package.part('data_model.simulation')
  start = datetime.datetime.fromisoformat(setup.when)
  times = [(start + datetime.timedelta(microseconds=i)).isoformat(
      timespec='microseconds') for i in range(len(episode.messages))]
  messages = [
      score.raw_message(m).model_copy(
          update={'turn_idx': i, 'timestamp': time})
      for i, (m, time) in enumerate(zip(episode.messages, times))]
  name = jsons.dumps([episode.task_id, episode.trial, episode.messages])
  return raw.SimulationRun(
      id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)), task_id=episode.task_id,
      trial=episode.trial, seed=setup.seed, timestamp=setup.when,
      start_time=setup.when, end_time=setup.when, duration=0.0,
      agent_cost=0.0, user_cost=0.0, termination_reason=episode.ended,
      reward_info=_verdict(env, task, raw_task, episode), messages=messages)


def _verdict(env: tau2_env.Tau2, task: types.Task, raw_task: Any,
             episode: types.Episode) -> Any:
  """Returns the benchmark's record of a verdict, with parts that do not count.

  Raises:
    ValueError: the episode goes differently, or has another score, when it is
      played again.
  """
  raw = package.part('data_model.simulation')
  if episode.ended not in results_read.JUDGED:
    return raw.RewardInfo(reward=0.0, reward_basis=None, info={
        'note': f'Termination reason: {episode.ended}'})
  where = f'Trial {episode.trial} of task {task.id}'
  world, scored = env.start(task), episode.score
  with results_read.naming(where):
    results_read.replay(world, episode.messages)
  again = env.score(task, world, episode.messages, episode.ended)
  if again.error or not again.unjudged and again.reward != scored.reward:
    raise ValueError(
        f'{where} was scored {scored.reward:g}, but now scores '
        f'{again.reward:g} {again.error}: it was scored by another version, or '
        'was edited. Run the evaluation again.')
  history = [score.raw_message(m) for m in episode.messages]
  grade = lambda name: getattr(
      package.part(f'evaluator.evaluator_{name}'),
      f'{name.title()}Evaluator').calculate_reward(raw_task, history)
  met = lambda check: world.environment.run_env_assertion(
      check, raise_assertion_error=False)
  criteria = raw_task.evaluation_criteria
  told = [raw.NLAssertionCheck(
      nl_assertion=text, met=scored.clauses[text], justification='')
      for text in task.criteria.nl_assertions if text in scored.clauses]
  return raw.RewardInfo(
      reward=scored.reward, reward_basis=criteria.reward_basis,
      reward_breakdown=dict(scored.parts), nl_assertions=told or None,
      db_check=raw.DBCheck(db_match=again.db == 1, db_reward=again.db),
      env_assertions=[raw.EnvAssertionCheck(
          env_assertion=check, met=ok, reward=float(ok))
          for check in criteria.env_assertions or () for ok in [met(check)]],
      action_checks=grade('action').action_checks,
      communicate_checks=grade('communicate').communicate_checks)
