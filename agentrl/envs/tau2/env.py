"""Plays the real benchmark, tau2-bench, as an environment (extra `tau2`).

Tools, data models, tasks and databases are the package's own (`package.py`);
state handling, rules of dialogue and verdicts are ours (`state.py`,
`envs/dialogue.py`, `score.py`), and tests hold them equal to the package's.

Two defects are mended, because no number of the benchmark depends on them:
`break_vpn` writes to a default that all environments of a process share (here
each has its own, as in a fresh process), and `calculate('9**9**9')`, which
never returns, is an error. All other oddities are kept: they are part of the
benchmark.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
import hashlib
import json
import re
from typing import Any

from agentrl import resolve
from agentrl import types
from agentrl.envs import databases as databases_lib
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs.tau2 import package
from agentrl.envs.tau2 import score
from agentrl.envs.tau2 import user_faults

DOMAINS = package.DOMAINS
BRIEF = 'You are a {} support agent.'
# The package's markup around its own words, which are read from it.
USER = '{}\n\n<scenario>\n{}\n</scenario>'
# The tool that ends a dialogue of solo mode; see `dialogue.play_solo`.
DONE = {'type': 'function', 'function': {
    'name': dialogue.DONE,
    'description': 'Call this function when you are done with the task.',
    'parameters': {'properties': {}, 'title': 'parameters', 'type': 'object'}}}
# Instructions that a user model from scratch needs: which offers to accept.
_ACCEPTS = ('You will consider the issue resolved', 'You are willing to',
            'If the agent asks you to pay')


class Tau2:
  """Implements `envs.env.Env` for one of the benchmark's domains.

  Args:
    domain: telecom, airline or retail.
    prompt: `full` gives each side the benchmark's own prompt, tool schemas
      included; `brief` is for models from scratch, which learn the policy
      from dialogues: one line for the agent, and for the user the scenario
      without its persona; `tools` is `full` with that one line in place of
      the agent's policy (telecom's policy does not fit into 8,192 tokens).
    grading: `v0.2.1` (the papers of 2025) or `v1.0.1`: which tasks and reward
      bases count; the data must be those of the same version.
    solo: the agent has the tools of both sides and a ticket, and no user
      takes part; telecom only.
    judge: import path of a factory of `score.Judge`, which decides on
      NL_ASSERTION; '' leaves tasks that need one unjudged.
    judge_kw: keyword arguments of that factory.
    databases: folder of `databases.py`, for tasks that start from a database
      of their own.

  Raises:
    ValueError: an argument has an unknown value, the benchmark is not
      installed, or its data are of another version.
  """

  def __init__(self, domain: str = 'telecom', prompt: str = 'full', *,
               grading: str = 'v0.2.1', solo: bool = False, judge: str = '',
               judge_kw: Mapping[str, Any] | None = None, databases: str = ''):
    for option, value, known in (
        ('domain', domain, DOMAINS),
        ('prompt', prompt, ('full', 'brief', 'tools')),
        ('grading', grading, package.GRADINGS)):
      if value not in known:
        raise ValueError(f'tau2-bench has no {option} {value!r}.'
                         + resolve.hint(value, known))
    self.domain, self.style, self.grading = domain, prompt, grading
    self.name, self.solo = f'tau2:{domain}', solo
    self._databases = databases
    self._bench = package.load(domain, solo)
    if domain != 'telecom' and grading != self._bench.grading:
      raise ValueError(
          f"grading={grading!r}, but the installed tasks of {domain} are those "
          f'of {self._bench.grading}: set TAU2_DATA_DIR to the data of the '
          'other version, or grade by this one.')
    judge_kw = dict(judge_kw or {})
    self._judge = judge and json.dumps([judge, judge_kw])
    self._scorer = score.Scorer(
        self._environment,
        resolve.call(resolve.name(judge), judge_kw) if judge else None)

  def tasks(self, split: str) -> list[types.Task]:
    """Returns the tasks of a split, in the benchmark's order.

    Raises:
      ValueError: there is no such split.
    """
    splits = {'full': self._bench.records, **self._bench.splits}
    if split not in splits:
      raise ValueError(f'{self.name} has no split {split!r}.'
                       + resolve.hint(split, splits))
    chosen = set(splits[split])
    return [self.by_id(key) for key in self._bench.records if key in chosen]

  def by_id(self, task_id: str) -> types.Task:
    """Returns the task of an id.

    Raises:
      ValueError: there is no such task.
    """
    return self._task(self._bench.task(task_id))

  def split(self, task_id: str) -> str:
    """Returns `train`, `test`, or `other` for a task of neither."""
    for split in ('train', 'test'):
      if task_id in self._bench.splits[split]:
        return split
    return 'other'

  def task(self, record: Mapping[str, Any]) -> types.Task:
    """Converts an entry of the benchmark's tasks.json to our form of a task.

    Raises:
      ValueError: the entry has another form.
    """
    return self._task(self._bench.module.Task.model_validate(record))

  def _task(self, raw: Any) -> types.Task:
    if raw.evaluation_criteria is None:
      raise ValueError(f'Task {raw.id} has no evaluation_criteria: there is '
                       'nothing to judge it by.')
    criteria = score.criteria(raw.evaluation_criteria)
    state = raw.initial_state and raw.initial_state.model_dump(mode='json')
    if state and not any(state.values()):
      state = None  # the domain's own start, which is shared and so faster
    families = ()
    # '[kind]issue|issue[PERSONA:name]'
    if self.domain == 'telecom' and raw.id.count('[') > 1:
      families = tuple(re.split(r'[\[\]]', raw.id)[2].split('|'))
    return types.Task(
        id=raw.id, domain=self.name, scenario=str(raw.user_scenario),
        criteria=criteria, initial_state=state,
        kind=self._kind(criteria), families=families,
        split=self.split(raw.id), brief=_brief(raw),
        ticket=raw.ticket if self.solo else None)

  def _kind(self, criteria: types.Criteria) -> str:
    if any(a.name == 'transfer_to_human_agents' for a in criteria.actions):
      return 'transfer'
    done = {a.name for a in criteria.actions} & self._bench.writes
    asked = done or criteria.communicate_info or criteria.env_assertions
    return 'do' if asked else 'refuse'

  def prompt(self, side: types.Side, task: types.Task) -> types.Message:
    if self.style == 'brief':
      return types.Message('system', (
          BRIEF.format(self.domain) if side == 'assistant'
          else task.brief))
    if side == 'user':
      text = USER.format(self._bench.guide, task.scenario)
    elif self.style == 'tools':
      text = BRIEF.format(self.domain)
    elif self.solo:
      text = package.solo_prompt(self._bench.policy, task.ticket)
    else:
      text = package.agent_prompt(self._bench.policy)
    return types.Message('system', text, tools=self.tools(side, task))

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    del task  # all tasks of a domain have the same tools
    schemas = self._bench.schemas
    if not self.solo:
      return schemas[side]
    return ((*schemas['assistant'], *schemas['user'], DONE)
            if side == 'assistant' else ())

  def start(self, task: types.Task) -> Tau2World:
    return Tau2World(self._environment(task), self.solo)

  def _environment(self, task: types.Task) -> Any:
    """Returns the package's environment in the initial state of a task.

    Raises:
      ValueError: the database of the task is missing or a different one.
    """
    name = task.database
    path = str(databases_lib.find(self._databases, name)) if name else ''
    return self._bench.environment(task.initial_state, path)

  def state(self, world: Tau2World) -> Any:
    """Returns a value that compares equal for two worlds if and only if the
    benchmark's hashes of them do."""
    return self._scorer.state(world.environment)

  def score(self, task: types.Task, world: Tau2World,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    if ended not in ('user_stop', 'agent_stop'):
      return types.Score(0.0, db=0.0)
    try:
      return self._scorer.score(task, world.environment, messages)
    except Exception as e:  # raised by a judge or an assertion
      return types.Score(0.0, error=f'{type(e).__name__}: {e}')

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    return user_faults.find(task, messages)

  def fingerprint(self) -> str:
    """Returns a hash of package, data, evaluator and prompt style."""
    text = '\0'.join([self._bench.fingerprint, self.style, self.grading,
                      self._judge, str(self.solo), BRIEF, USER, *_ACCEPTS])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Tau2World:
  """Implements `envs.env.World` over one of the benchmark's environments.

  Attributes:
    environment: the package's environment.
    solo: whether the agent is alone with the tools of both sides.
  """

  def __init__(self, environment: Any, solo: bool = False):
    self.environment, self.solo = environment, solo

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    try:
      results = [self._answer(call) for call in calls]
      self.environment.sync_tools()
    except Exception as e:  # a wrong call is answered, so this is a defect
      raise env_lib.ToolBroken(
          f'The benchmark could not answer {[c.name for c in calls]}: '
          f'{type(e).__name__}: {e}') from e
    return results

  def _answer(self, call: types.ToolCall) -> types.Message:
    """Answers as `Environment.get_response` does, without the text that it
    renders of each result for its log."""
    env, error = self.environment, False
    try:
      if call.name == 'calculate' and env.tools.has_tool(call.name):
        _check_size(**call.arguments)
      result = env.make_tool_call(
          call.name, requestor=call.requestor, **call.arguments)
      env.sync_tools()
    except env_lib.ToolBroken:  # ours, see `state.SharedTable`
      raise
    except Exception as e:
      result, error = f'Error: {e}', True
    return types.Message('tool', env.to_json_str(result), id=call.id,
                         requestor=call.requestor, error=error)


MOST_BITS = 1 << 20  # bits of an intermediate number; a float has 1,024
_TOO_LARGE = 'int too large to convert to float'


def _check_size(expression: Any = None, **others: Any) -> None:
  """Raises OverflowError for a power that would take forever to compute.

  All other errors of a call are left to the tool.
  """
  if (others or not isinstance(expression, str)
      or set(expression) - set('0123456789+-*/(). ')):
    return
  try:
    tree = ast.parse(expression, mode='eval').body
  except (SyntaxError, ValueError, MemoryError, RecursionError):
    return
  try:
    _size(tree)
  except (ArithmeticError, TypeError, RecursionError) as e:
    if str(e) == _TOO_LARGE:
      raise


_SIGNS = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b, ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b, ast.Pow: lambda a, b: a ** b}


def _size(node: ast.AST) -> Any:
  """Computes the value of a node bottom up and checks its size on the way."""
  if isinstance(node, ast.Constant):
    return node.value
  if isinstance(node, ast.UnaryOp):
    value = _size(node.operand)
    return -value if isinstance(node.op, ast.USub) else value
  if not isinstance(node, ast.BinOp) or type(node.op) not in _SIGNS:
    raise TypeError('not arithmetic')
  a, b = _size(node.left), _size(node.right)
  if isinstance(a, int) and isinstance(b, int) and abs(a) > 1:
    bits = a.bit_length() * b if isinstance(node.op, ast.Pow) else 0
    if max(bits, b.bit_length() + a.bit_length()) > MOST_BITS:
      raise OverflowError(_TOO_LARGE)
  return _SIGNS[type(node.op)](a, b)


def _brief(raw: Any) -> str:
  """Shortens the scenario: no persona, no advice on how to behave."""
  told = raw.user_scenario.instructions
  if isinstance(told, str):
    return ' '.join(told.split())
  parts = [told.reason_for_call, told.known_info, told.unknown_info,
           told.task_instructions]
  if told.domain == 'telecom':
    accepts = [s for s in re.split(r'(?<=\.)\s+', told.task_instructions)
               if s.startswith(_ACCEPTS)]
    parts = [told.reason_for_call.split('. ')[0].rstrip('.') + '.',
             told.known_info, *accepts]
  return ' '.join(' '.join(p.split()) for p in parts if p)
