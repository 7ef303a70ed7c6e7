"""The benchmark's verdict, read off the live state of a dialogue.

Its own evaluator plays every call again on a fresh environment, plays the
gold calls on another, and hashes both databases: seconds for one dialogue.
What it asks for is known without that: the state after the dialogue is there,
and the gold end state of a task is always the same. Which calls count as equal
is asked of the package's own data models; the rest is repeated here, and tests
hold it to the package's verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import math
from typing import Any

from agentrl import types
from agentrl.envs import env as env_lib
from agentrl.envs.tau2 import package as tau2_bench
from agentrl.envs.tau2 import state as tau2_state

# (assertions, messages) -> is it so, for each assertion.
Judge = Callable[[Sequence[str], Sequence[types.Message]], Sequence[bool]]


@dataclasses.dataclass(frozen=True)
class Known:
  """What is known of a task before it is played.

  Attributes:
    criteria, initial_state, database: of the task, to know it by.
    raw: the package's task.
    end: the state that the gold calls lead to, see `state`.
  """

  criteria: types.Criteria
  initial_state: Any
  database: str
  raw: Any
  end: Any


class Judging:
  """Scores dialogues of one domain.

  Args:
    start: gives the package's environment in the initial state of a task.
    judge: decides on NL_ASSERTION; None leaves such tasks unjudged.
  """

  def __init__(self, start: Callable[[types.Task], Any],
               judge: Judge | None = None):
    self._start, self._judge = start, judge
    self._known: dict[str, Known] = {}

  def known(self, task: types.Task) -> Known:
    """See `Known`; computed once for each task."""
    found, database = self._known.get(task.id), task.database
    if (found is None or found.criteria != task.criteria
        or found.initial_state != task.initial_state
        or found.database != database):
      found = Known(task.criteria, task.initial_state, database,
                    raw_task(task), self._gold(task))
      self._known[task.id] = found
    return found

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
    """What is equal for two environments just if both their hashes are."""
    if env.base and tau2_state.is_fresh(env.tools.db):
      return env.base.changes(env.tools.db)
    return env.get_db_hash(), env.get_user_db_hash()

  def score(self, task: types.Task, env: Any,
            messages: Sequence[types.Message]) -> types.Score:
    """The verdict on a dialogue that a stop has ended.

    Args:
      task: what was played.
      env: the package's environment as the dialogue has left it.
      messages: all of the dialogue.
    """
    known, basis = self.known(task), set(task.criteria.reward_basis)
    db_match = self.state(env) == known.end
    parts, clauses = {}, {}
    if 'DB' in basis:
      parts['DB'] = float(db_match)
      clauses['the database is as expected'] = db_match
    if 'ENV_ASSERTION' in basis:
      met = {f'{a.func_name}({a.arguments})':
                 env.run_env_assertion(a, raise_assertion_error=False)
             for a in known.raw.evaluation_criteria.env_assertions or ()}
      parts['ENV_ASSERTION'] = float(all(met.values()))
      clauses |= met
    history = [raw_message(m) for m in messages]
    for name, grade in (('ACTION', _actions), ('COMMUNICATE', _words)):
      if name in basis:
        met = grade(known.raw, history)
        parts[name] = float(all(met.values()))
        clauses |= met
    reward, unjudged = math.prod(parts.values()), False
    if 'NL_ASSERTION' in basis and (told := task.criteria.nl_assertions):
      # Whatever it says of a dialogue that has failed already, it stays so.
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
  """Every gold call was made, by whichever side, with what is compared."""
  made = [call for m in history if m.role != 'tool'
          for call in m.tool_calls or ()]
  return {f'called {gold.get_func_format()}': any(
      gold.compare_with_tool_call(call) for call in made)
          for gold in raw.evaluation_criteria.actions or ()}


def _words(raw: Any, history: Sequence[Any]) -> dict[str, bool]:
  """Every fact stands in a text of the agent, were it beside calls.

  Commas are taken out of the text but not of the fact, as in the package.
  """
  said = [m.content.lower().replace(',', '') for m in history
          if m.role == 'assistant' and m.has_text_content()]
  return {f'told {fact!r}': any(fact.lower() in text for text in said)
          for fact in raw.evaluation_criteria.communicate_info or ()}


def raw_task(task: types.Task) -> Any:
  """The benchmark's task back from ours: all that its evaluators look at."""
  c = task.criteria
  actions = [dict(action_id=a.id, requestor=a.requestor, name=a.name,
                  arguments=dict(a.arguments), compare_args=a.compare_args,
                  info=a.info) for a in c.actions]
  return tau2_bench.part('data_model.tasks').Task.model_validate(dict(
      id=task.id, user_scenario={'instructions': task.scenario},
      initial_state=task.initial_state, evaluation_criteria=dict(
          actions=actions, env_assertions=list(c.env_assertions),
          communicate_info=c.communicate_info, nl_assertions=c.nl_assertions,
          reward_basis=c.reward_basis)))


@functools.cache
def _messages() -> Any:
  return tau2_bench.part('data_model.message')


def raw_message(m: types.Message) -> Any:
  """The benchmark's message of ours."""
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
  """Our criteria of the benchmark's."""
  return types.Criteria(
      actions=tuple(types.Action(
          a.name, a.arguments, a.requestor, a.action_id,
          None if a.compare_args is None else tuple(a.compare_args), a.info)
          for a in raw.actions or ()),
      env_assertions=tuple(a.model_dump() for a in raw.env_assertions or ()),
      communicate_info=tuple(raw.communicate_info or ()),
      nl_assertions=tuple(raw.nl_assertions or ()),
      reward_basis=tuple(b.value for b in raw.reward_basis))
