"""Computes the benchmark's verdict from the live state of a dialogue.

The benchmark's evaluator plays every call again on a fresh environment, plays
the gold calls on another, and hashes both databases, which takes seconds for
one dialogue. None of that is needed: the state after the dialogue is at hand,
and the gold end state of a task is always the same. The package's own data
models decide which calls count as equal; the rest is repeated here, and tests
compare it with the package's verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import math
from typing import Any

from agentrl import types
from agentrl.envs import env as env_lib
from agentrl.envs.tau2 import package
from agentrl.envs.tau2 import state

# (assertions, messages) -> whether each assertion holds.
Judge = Callable[[Sequence[str], Sequence[types.Message]], Sequence[bool]]


@dataclasses.dataclass(frozen=True)
class PreparedTask:
  """Holds the parts of a verdict that do not depend on the dialogue.

  Attributes:
    criteria, initial_state, database: fields of our task that identify it.
    raw: the package's task.
    end: the state that the gold calls lead to, see `Scorer.state`.
  """

  criteria: types.Criteria
  initial_state: Any
  database: str
  raw: Any
  end: Any


class Scorer:
  """Scores dialogues of one domain.

  Args:
    start: returns the package's environment in the initial state of a task.
    judge: decides on NL_ASSERTION; None leaves such tasks unjudged.
  """

  def __init__(self, start: Callable[[types.Task], Any],
               judge: Judge | None = None):
    self._start, self._judge = start, judge
    self._prepared: dict[str, PreparedTask] = {}

  def prepared(self, task: types.Task) -> PreparedTask:
    """Prepares a task, once for each task."""
    own, database = self._prepared.get(task.id), task.database
    if (own is None or own.criteria != task.criteria
        or own.initial_state != task.initial_state
        or own.database != database):
      own = PreparedTask(task.criteria, task.initial_state, database,
                         raw_task(task), self._gold(task))
      self._prepared[task.id] = own
    return own

  def _gold(self, task: types.Task) -> Any:
    env = self._start(task)
    for action in task.criteria.actions:
      try:
        env.make_tool_call(action.name, requestor=action.requestor,
                           **action.arguments)
      except env_lib.ToolBroken:
        raise
      except Exception:  # 15 gold lists of retail hold such calls
        continue
    return self.state(env)

  def state(self, env: Any) -> Any:
    """Returns a value that compares equal for two environments if and only if
    both their hashes do."""
    if env.base and state.is_fresh(env.tools.db):
      return env.base.changes(env.tools.db)
    return env.get_db_hash(), env.get_user_db_hash()

  def score(self, task: types.Task, env: Any,
            messages: Sequence[types.Message]) -> types.Score:
    """Judges a dialogue that was ended by a stop.

    Args:
      task: the task that was played.
      env: the package's environment in the state after the dialogue.
      messages: all messages of the dialogue.
    """
    prepared, basis = self.prepared(task), set(task.criteria.reward_basis)
    db_match = self.state(env) == prepared.end
    parts, clauses = {}, {}
    if 'DB' in basis:
      parts['DB'] = float(db_match)
      clauses['the database is as expected'] = db_match
    if 'ENV_ASSERTION' in basis:
      met = {f'{a.func_name}({a.arguments})':
                 env.run_env_assertion(a, raise_assertion_error=False)
             for a in prepared.raw.evaluation_criteria.env_assertions or ()}
      parts['ENV_ASSERTION'] = float(all(met.values()))
      clauses |= met
    history = [raw_message(m) for m in messages]
    for name, grade in (('ACTION', _actions), ('COMMUNICATE', _words)):
      if name in basis:
        met = grade(prepared.raw, history)
        parts[name] = float(all(met.values()))
        clauses |= met
    reward, unjudged = math.prod(parts.values()), False
    if 'NL_ASSERTION' in basis and (told := task.criteria.nl_assertions):
      # A dialogue that has failed already stays failed: no judge is asked.
      unjudged = reward == 1 and self._judge is None
      if reward == 1 and self._judge:
        met = dict(zip(told, self._judge(told, messages), strict=True))
        parts['NL_ASSERTION'] = float(all(met.values()))
        clauses |= met
        reward *= parts['NL_ASSERTION']
    elif 'NL_ASSERTION' in basis:
      parts['NL_ASSERTION'] = 1.0
    return types.Score(0.0 if unjudged else reward, parts, clauses,
                       db=float(db_match), unjudged=unjudged)


def _actions(raw: Any, history: Sequence[Any]) -> dict[str, bool]:
  """Checks that some side made every gold call, by the arguments compared."""
  made = [call for m in history if m.role != 'tool'
          for call in m.tool_calls or ()]
  return {f'called {gold.get_func_format()}': any(
      gold.compare_with_tool_call(call) for call in made)
          for gold in raw.evaluation_criteria.actions or ()}


def _words(raw: Any, history: Sequence[Any]) -> dict[str, bool]:
  """Checks that every fact is in a text of the agent, even one beside calls.

  Like the package, it removes commas from the text but not from the fact.
  """
  said = [m.content.lower().replace(',', '') for m in history
          if m.role == 'assistant' and m.has_text_content()]
  return {f'told {fact!r}': any(fact.lower() in text for text in said)
          for fact in raw.evaluation_criteria.communicate_info or ()}


def raw_task(task: types.Task) -> Any:
  """Converts our task to the benchmark's, with all that its evaluators read."""
  c = task.criteria
  actions = [dict(action_id=a.id, requestor=a.requestor, name=a.name,
                  arguments=dict(a.arguments), compare_args=a.compare_args,
                  info=a.info) for a in c.actions]
  return package.part('data_model.tasks').Task.model_validate(dict(
      id=task.id, user_scenario={'instructions': task.scenario},
      initial_state=task.initial_state, evaluation_criteria=dict(
          actions=actions, env_assertions=list(c.env_assertions),
          communicate_info=c.communicate_info, nl_assertions=c.nl_assertions,
          reward_basis=c.reward_basis)))


@functools.cache
def _messages() -> Any:
  return package.part('data_model.message')


def raw_message(m: types.Message) -> Any:
  """Converts our message to the benchmark's."""
  raw = _messages()
  if m.role == 'tool':
    return raw.ToolMessage(role='tool', id=m.id, content=m.content,
                           requestor=m.requestor, error=m.error)
  cls = raw.AssistantMessage if m.role == 'assistant' else raw.UserMessage
  calls = [raw_call(c) for c in m.tool_calls]
  return cls(role=m.role, content=m.content, tool_calls=calls or None)


def raw_call(call: types.ToolCall) -> Any:
  return _messages().ToolCall(
      id=call.id, name=call.name, arguments=dict(call.arguments),
      requestor=call.requestor)


def criteria(raw: Any) -> types.Criteria:
  """Converts the benchmark's criteria to ours."""
  return types.Criteria(
      actions=tuple(types.Action(
          a.name, a.arguments, a.requestor, a.action_id,
          None if a.compare_args is None else tuple(a.compare_args), a.info)
          for a in raw.actions or ()),
      env_assertions=tuple(a.model_dump() for a in raw.env_assertions or ()),
      communicate_info=tuple(raw.communicate_info or ()),
      nl_assertions=tuple(raw.nl_assertions or ()),
      reward_basis=tuple(b.value for b in raw.reward_basis))
