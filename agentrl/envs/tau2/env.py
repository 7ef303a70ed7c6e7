"""The real benchmark, tau2-bench, as an environment (extra `tau2`).

Tools, data models, tasks and databases are the package's own
(`tau2_bench.py`); state handling, rules of dialogue and verdicts are ours
(`tau2_state.py`, `dialogue.py`, `tau2_score.py`), held equal to the package's
by tests.

Mended, as no number of the benchmark hangs on it: `break_vpn` writes to a
default that all environments of a process share (here each has its own, as in
a fresh process), and `calculate('9**9**9')`, which never returns, is an error.
Everything else that looks odd is kept, because it is the benchmark.
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
from agentrl.envs.tau2 import package as tau2_bench
from agentrl.envs.tau2 import score as tau2_score
from agentrl.envs.tau2 import user_faults as tau2_faults

DOMAINS = tau2_bench.DOMAINS
BRIEF = 'You are a {} support agent.'
# Its markup is that of the package; the words are read from it.
USER = '{}\n\n<scenario>\n{}\n</scenario>'
# Of solo mode, which makes this tool itself; the rules: `dialogue.play_solo`.
DONE = {'type': 'function', 'function': {
    'name': dialogue.DONE,
    'description': 'Call this function when you are done with the task.',
    'parameters': {'properties': {}, 'title': 'parameters', 'type': 'object'}}}
# Of the instructions, what a user from scratch must know: what to accept.
_ACCEPTS = ('You will consider the issue resolved', 'You are willing to',
            'If the agent asks you to pay')


class Tau2:
  """`envs.env.Env` of one of the benchmark's domains.

  Args:
    domain: telecom, airline or retail.
    prompt: `full` gives each side what the benchmark gives it, tool schemas
      included; `brief` is for models from scratch, which learn the policy
      from dialogues: one line for the agent, and for the user the scenario
      without its persona; `tools` is `full` but for the agent's policy, in
      whose place that line stands: telecom's has no room in 8,192 tokens.
    grading: `v0.2.1` (the papers of 2025) or `v1.0.1`: which tasks and reward
      bases count; the data must be those of the same version.
    solo: the agent has the tools of both sides and a ticket, and no user
      takes part; telecom alone.
    judge: import path of what makes a `tau2_score.Judge`, which decides on
      NL_ASSERTION; '' leaves tasks that hang on one unjudged.
    judge_kw: its keyword arguments.
    databases: folder of `databases.py`, for tasks that start from a database
      of their own.

  Raises:
    ValueError: an argument of another kind, the benchmark is not installed,
      or its data are of another version.
  """

  def __init__(self, domain: str = 'telecom', prompt: str = 'full', *,
               grading: str = 'v0.2.1', solo: bool = False, judge: str = '',
               judge_kw: Mapping[str, Any] | None = None, databases: str = ''):
    for what, value, known in (
        ('domain', domain, DOMAINS),
        ('prompt', prompt, ('full', 'brief', 'tools')),
        ('grading', grading, tau2_bench.GRADINGS)):
      if value not in known:
        raise ValueError(f'tau2-bench has no {what} {value!r}.'
                         + resolve.hint(value, known))
    self.domain, self.style, self.grading = domain, prompt, grading
    self.name, self.solo = f'tau2:{domain}', solo
    self._databases = databases
    self._bench = tau2_bench.load(domain, solo)
    if domain != 'telecom' and grading != self._bench.grading:
      raise ValueError(
          f"grading={grading!r}, but the installed tasks of {domain} are those "
          f'of {self._bench.grading}: set TAU2_DATA_DIR to the data of the '
          'other version, or grade by this one.')
    judge_kw = dict(judge_kw or {})
    self._judge = judge and json.dumps([judge, judge_kw])
    self._judging = tau2_score.Judging(
        self._environment,
        resolve.call(resolve.name(judge), judge_kw) if judge else None)

  def tasks(self, split: str) -> list[types.Task]:
    """The tasks of a split, in the benchmark's order.

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
    """One task.

    Raises:
      ValueError: there is no such task.
    """
    return self._task(self._bench.task(task_id))

  def split(self, task_id: str) -> str:
    """`train`, `test`, or `other` for a task of neither."""
    for split in ('train', 'test'):
      if task_id in self._bench.splits[split]:
        return split
    return 'other'

  def task(self, record: Mapping[str, Any]) -> types.Task:
    """A task in the benchmark's own form (an entry of its tasks.json) as ours.

    Raises:
      ValueError: it is not of that form.
    """
    return self._task(self._bench.module.Task.model_validate(record))

  def _task(self, raw: Any) -> types.Task:
    if raw.evaluation_criteria is None:
      raise ValueError(f'Task {raw.id} has no evaluation_criteria: there is '
                       'nothing to judge it by.')
    criteria = tau2_score.criteria(raw.evaluation_criteria)
    state = raw.initial_state and raw.initial_state.model_dump(mode='json')
    if state and not any(state.values()):
      state = None  # the domain's own start: shared, and faster
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
      text = tau2_bench.solo_prompt(self._bench.policy, task.ticket)
    else:
      text = tau2_bench.agent_prompt(self._bench.policy)
    return types.Message('system', text, tools=self.tools(side, task))

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    del task  # all tasks of a domain have the same tools
    schemas = self._bench.schemas
    if not self.solo:
      return schemas[side]
    return ((*schemas['assistant'], *schemas['user'], DONE)
            if side == 'assistant' else ())

  def start(self, task: types.Task) -> World:
    return World(self._environment(task), self.solo)

  def _environment(self, task: types.Task) -> Any:
    """The package's, in the initial state of a task.

    Raises:
      ValueError: its database is not there, or another.
    """
    name = task.database
    path = str(databases_lib.find(self._databases, name)) if name else ''
    return self._bench.environment(task.initial_state, path)

  def state(self, world: World) -> Any:
    """Equal for two worlds just if the benchmark's hashes of them are."""
    return self._judging.state(world.environment)

  def score(self, task: types.Task, world: World,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    if ended not in ('user_stop', 'agent_stop'):
      return types.Score(0.0, db=0.0)
    try:
      return self._judging.score(task, world.environment, messages)
    except Exception as e:  # of a judge, or of an assertion
      return types.Score(0.0, error=f'{type(e).__name__}: {e}')

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    return tau2_faults.find(task, messages)

  def fingerprint(self) -> str:
    """Hash of the package, its data and evaluator, and the prompt style."""
    text = '\0'.join([self._bench.fingerprint, self.style, self.grading,
                      self._judge, str(self.solo), BRIEF, USER, *_ACCEPTS])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class World:
  """`envs.env.World` over one of the benchmark's environments.

  Attributes:
    environment: the package's.
    solo: no user takes part.
  """

  def __init__(self, environment: Any, solo: bool = False):
    self.environment, self.solo = environment, solo

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    try:
      results = [self._answer(call) for call in calls]
      self.environment.sync_tools()
    except Exception as e:  # wrong calls are answered, not raised
      raise env_lib.ToolBroken(
          f'The benchmark could not answer {[c.name for c in calls]}: '
          f'{type(e).__name__}: {e}') from e
    return results

  def _answer(self, call: types.ToolCall) -> types.Message:
    """What `Environment.get_response` does, but for a text of each result
    that it makes for its log."""
    env, error = self.environment, False
    try:
      if call.name == 'calculate' and env.tools.has_tool(call.name):
        _check_size(**call.arguments)
      found = env.make_tool_call(
          call.name, requestor=call.requestor, **call.arguments)
      env.sync_tools()
    except env_lib.ToolBroken:  # ours, see `tau2_state.Rows`
      raise
    except Exception as e:
      found, error = f'Error: {e}', True
    return types.Message('tool', env.to_json_str(found), id=call.id,
                         requestor=call.requestor, error=error)


MOST_BITS = 1 << 20  # of a number on the way; a float has 1,024
_TOO_LARGE = 'int too large to convert to float'


def _check_size(expression: Any = None, **others: Any) -> None:
  """Raises OverflowError for a power that would take forever to work out.

  Anything else that is wrong with a call is left to the tool.
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
  """The value of a node, worked out bottom up with an eye on its size."""
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
  """The scenario in few words: no persona, no advice on how to behave."""
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
