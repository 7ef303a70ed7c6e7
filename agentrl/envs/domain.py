"""Makes an environment of a folder: state.py, tools.py, policy.md, tasks.py.

* `state.py`: `build(seed, split) -> tables` (table -> key -> record). The
  splits `train` and `test` must not share entities. The first table holds the
  people that may call, unless `PEOPLE` names another.
* `tools.py`: `AGENT` and `USER`, tuples of tool functions (`envs/tools.py`).
* `policy.md`: rules that the agent must keep.
* `tasks.py`: `opening(state, caller)`, `callers(state)` and `FAMILIES`, from
  which the data engine composes tasks; see `Demand`. `ENTITY` may give a
  pattern of the names of entities. Without this file an LLM invents the demands
  (`eigendata/write/invented.py`); then end state and told facts decide alone,
  not the way there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import hashlib
import importlib
import importlib.resources
import importlib.util
import json
import random
import re
from typing import Any, NamedTuple

from agentrl import jsons
from agentrl import types
from agentrl.envs import checkers
from agentrl.envs import databases as databases_lib
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import state as state_lib
from agentrl.envs import tools

USER_GUIDE = (
    'You are a customer who talks to an assistant. Ask for one thing at a '
    'time, answer what you are asked, invent nothing. When all is done say '
    'goodbye with ###STOP###, or ###TRANSFER### once you are handed over to '
    'a human.')


def says(by: types.Side, *variants: str) -> types.Beat:
  """Returns a move of words, in variants that mean the same."""
  return types.Beat(by, say=variants)


def calls(by: types.Side, name: str, /, **arguments: Any) -> types.Beat:
  """Returns a move that calls a tool."""
  return types.Beat(by, call=name, arguments=arguments)


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
  """One thing a user wants, with the exchange that a good agent would have.

  Attributes:
    family: name of the function in `FAMILIES` that drafted it.
    goal: one or two sentences that tell the user about it, with every detail
      that the agent may ask for, and a fallback where one is needed.
    beats: the exchange. It opens with the user's request and ends with the
      agent's report; its calls are executed to get the gold actions.
    about: words that the user must say, or else the fault is theirs.
    tell: facts that the agent must say (lower-case substrings).
    kind: whether it is done, refused, handed over, or done another way.
    answers: words that the user must say once asked. The fault is theirs if
      the agent made the demand's last call without hearing them; an agent that
      declined has not asked.
    forbidden: calls of the agent that users may press for and that the policy
      forbids here, above all those that a tool would carry out.
  """

  family: str
  goal: str
  beats: tuple[types.Beat, ...]
  about: tuple[str, ...] = ()
  tell: tuple[str, ...] = ()
  kind: types.Kind = 'do'
  answers: tuple[str, ...] = ()
  forbidden: tuple[types.Beat, ...] = ()


class UserFault(NamedTuple):
  """A fault of the user, found in a dialogue: its kind, and a description."""

  kind: str  # MADE_UP or UNSAID; '' for any other
  text: str


MADE_UP, UNSAID = 'made up', 'unsaid'
Family = Callable[[state_lib.State, str, random.Random], Demand | None]


@functools.cache
def _tables(path: str, seed: int, split: str) -> state_lib.Tables:
  """Builds the database of a split, once for each process."""
  return importlib.import_module(f'{path}.state').build(seed, split)


@functools.lru_cache(maxsize=64)
def _changed(path: str, seed: int, split: str, records: str
             ) -> state_lib.Tables:
  """Builds a database with fields of records changed (JSON), or whole records
  added, once for each process.

  Raises:
    ValueError: `records` names an unknown table.
  """
  tables = dict(_tables(path, seed, split))
  for name, rows in json.loads(records).items():
    if name not in tables:
      raise ValueError(f'There is no table {name!r}, but {list(tables)}.')
    tables[name] = {**tables[name], **{
        key: {**tables[name].get(key, {}), **fields}
        for key, fields in rows.items()}}
  return tables


def _built(path: str, seed: int, split: str, records: str
           ) -> state_lib.Tables:
  """Builds a database with `records` changed, '' for none."""
  if not records:
    return _tables(path, seed, split)
  return _changed(path, seed, split, records)


@functools.lru_cache(maxsize=1024)
def _digest(path: str, seed: int, split: str, records: str) -> str:
  return databases_lib.digest(_built(path, seed, split, records))


class Domain:
  """Implements `envs.env.Env` for a folder.

  Args:
    path: import path of the package.
    prompt: `full` puts policy and tool schemas into the system prompt;
      `brief` names the domain only, for models from scratch that learn the
      policy from dialogues and could not read it.
    databases: folder of `databases.py`: a task that names its database starts
      from its file there; '': from the database that the code builds, if that
      is still the same.

  Attributes:
    drafts: module `tasks` of the folder; None if it has none.
    basis: reward basis of its tasks, see `types.Criteria`.
    judged_on: see `eigendata.source.WritableEnv`.

  Raises:
    ValueError: a part of the folder is missing, or `prompt` is unknown.
  """

  basis = ('CHECKER',)
  judged_on = ''  # it has test tasks of its own written

  def __init__(self, path: str, prompt: str = 'full', databases: str = ''):
    if prompt not in ('full', 'brief'):
      raise ValueError(f"prompt must be 'full' or 'brief', got {prompt!r}.")
    self.path, self.style, self._databases = path, prompt, databases
    self.name = path.removeprefix('agentrl.envs.domains.')
    self.policy = self._read_policy()
    module = self._part('tools', 'AGENT', 'USER')
    self._tools = {'assistant': tools.by_name(module.AGENT),
                   'user': tools.by_name(module.USER)}
    self._state = self._part('state', 'build')
    self.drafts = None
    if importlib.util.find_spec(f'{path}.tasks'):
      self.drafts = self._part('tasks', 'FAMILIES', 'opening', 'callers')

  def _read_policy(self) -> str:
    try:
      root = importlib.resources.files(self.path)
      return (root / 'policy.md').read_text()
    except (ModuleNotFoundError, FileNotFoundError) as e:
      raise ValueError(
          f'No domain at {self.path!r}: {e}. Give orders, router, tau2:<name> '
          'or the import path of a package with state.py, tools.py and '
          'policy.md (is its parent folder on PYTHONPATH?).') from e

  def _part(self, part: str, *names: str) -> Any:
    try:
      module = importlib.import_module(f'{self.path}.{part}')
    except ModuleNotFoundError as e:
      raise ValueError(f'Domain {self.path} lacks {part}.py: {e}.') from e
    if missing := [n for n in names if not hasattr(module, n)]:
      raise ValueError(f'{self.path}/{part}.py must define {missing}; '
                       'see agentrl/envs/domain.py.')
    return module

  def tables(self, seed: int, split: str,
             records: Mapping[str, Any] | None = None) -> state_lib.Tables:
    """Returns the database of a split, built once for each process, with
    `records` (table -> key -> fields) changed in it."""
    return _built(self.path, seed, split,
                  jsons.dumps(records) if records else '')

  def callers(self, tables: state_lib.Tables) -> list[str]:
    """Returns the keys of the people that may call.

    Raises:
      ValueError: there are none.
    """
    table = getattr(self._state, 'PEOPLE', '') or next(iter(tables), '')
    if not tables.get(table):
      raise ValueError(
          f'There are no callers: {self.path}.state builds no table {table!r} '
          f'with records, but {list(tables)}. Let PEOPLE in state.py name the '
          'table of people that call, or build it first.')
    return list(tables[table])

  def demand_tools(self) -> list[str]:
    """Returns the tools that an invented demand may be about."""
    return [name for name in self._tools['assistant']
            if not name.startswith(env_lib.TRANSFER_TOOL)]

  def setups(self) -> tuple[Mapping[str, Any], ...]:
    """Returns (): tasks of a folder begin with their database alone."""
    return ()

  def initial_state(self, database: int, split: str) -> dict[str, Any]:
    """Returns the initial state over the database of a seed."""
    return {'seed': database, 'split': split}

  def prepared(self, start: Mapping[str, Any],
               setup: Sequence[Mapping[str, Any]],
               records: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an initial state with records changed (table -> key ->
    fields)."""
    del setup  # there are none to choose from
    return {**start, **({'records': dict(records)} if records else {})}

  def scenario(self, knowledge: str, style: str, goals: Sequence[str]
               ) -> tuple[str, str]:
    """Returns the user's instructions, and `types.Task.brief`."""
    numbered = ' '.join(f'{i}. {goal}' for i, goal in enumerate(goals, 1))
    return f'{knowledge} {style} {numbered}', ''

  def database(self, seed: int, split: str,
               records: Mapping[str, Any] | None = None) -> str:
    """Returns the digest of `tables`, see `databases.py`; computed once for
    each process.

    Raises:
      ValueError: they are not plain JSON.
    """
    return _digest(self.path, seed, split,
                   jsons.dumps(records) if records else '')

  def _initial(self, task: types.Task) -> state_lib.Tables:
    """Returns the database that a task starts from.

    Raises:
      ValueError: its file is missing, or the code builds another one than the
        task was made with.
    """
    name = task.database
    if name and self._databases:
      return databases_lib.read(self._databases, name)
    built = name and self.database(**task.initial_state)
    if built != name:
      raise ValueError(
          f'Task {task.id} was made with the database {name}, but for '
          f'{task.initial_state} {self.path}.state now builds {built}: set '
          'config.env.databases to the folder `databases` of the data stage '
          'that made the task, or run that stage again.')
    return self.tables(**task.initial_state)

  def prompt(self, side: types.Side, task: types.Task) -> types.Message:
    if side == 'user':
      guide = '' if self.style == 'brief' else USER_GUIDE + '\n\n'
      return types.Message('system', guide + task.scenario)
    if self.style == 'brief':
      return types.Message('system', f'You are the assistant for {self.name}.')
    return types.Message('system', self.policy, tools=self.tools(side, task))

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    del task  # all tasks of a folder have the same tools
    return tuple(tool.schema for tool in self._tools[side].values())

  def start(self, task: types.Task) -> DomainWorld:
    return DomainWorld(state_lib.State(self._initial(task)), self._tools)

  def score(self, task: types.Task, world: DomainWorld,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    if ended != 'user_stop':
      return types.Score(0.0)
    return self.verdicts(task, world, messages)[0]

  def verdicts(self, task: types.Task, world: DomainWorld,
               messages: Sequence[types.Message]) -> tuple[types.Score, ...]:
    """Returns the verdict of the task's checker."""
    return (checkers.score(task.checker, world.state.changes(), messages),)

  def fault(self, task: types.Task,
            messages: Sequence[types.Message]) -> str:
    """Describes the user's fault that `user_fault` finds; '' without one."""
    fault = self.user_fault(task, messages)
    return fault.text if fault else ''

  def user_fault(self, task: types.Task, messages: Sequence[types.Message]
                 ) -> UserFault | None:
    """Finds words that the user made up or left unsaid.

    A user who is handed over, or stopped by errors of the agent, need not say
    the rest.
    """
    if made_up := self._made_up(task, messages):
      return UserFault(MADE_UP, f'The user made up {", ".join(made_up)}.')
    if (not dialogue.is_stop(messages[-1])
        or env_lib.handed_over(messages)):
      return None
    words = ' '.join(m.content or '' for m in messages if m.role == 'user')
    done = _done(messages)
    expected = [*(word for d in task.demands for word in d.about),
                *(word for d in task.demands for word, tool in d.answers
                  if tool in done)]
    unsaid = [word for word in expected if word.lower() not in words.lower()]
    return UserFault(UNSAID, f'The user never mentioned {", ".join(unsaid)}.'
                     ) if unsaid else None

  def _made_up(self, task: types.Task,
               messages: Sequence[types.Message]) -> list[str]:
    """Returns entities that the user named first; [] if there are none."""
    if not self.entity:
      return []
    known = set(re.findall(self.entity, task.scenario))
    for message in messages:
      if message.role == 'tool' and message.requestor == 'assistant':
        continue
      entities = set(re.findall(self.entity, message.content or ''))
      if message.role == 'user' and not message.is_call and entities - known:
        return sorted(entities - known)
      known |= entities
    return []

  @property
  def entity(self) -> str:
    """Pattern of the names of entities, ENTITY of tasks.py; '' without one."""
    return getattr(self.drafts, 'ENTITY', '')

  def entities(self, task: types.Task, texts: Sequence[str]) -> frozenset[str]:
    """Returns the entities that texts about a task name."""
    del task  # its start names none
    pattern = self.entity
    return frozenset(re.findall(pattern, ' '.join(texts)) if pattern else ())

  def database_texts(self, task: types.Task) -> list[str]:
    """Returns the database that a task starts from as plain text."""
    return [jsons.dumps(self.tables(**task.initial_state))]

  def fingerprint(self) -> str:
    """Returns a hash of policy, code, prompt style and checker prelude."""
    parts = [self.style, self.policy, checkers.PRELUDE]
    folder = importlib.resources.files(self.path)
    parts += [file.read_text() for file in sorted(
        folder.iterdir(), key=lambda file: file.name)
              if file.name.endswith('.py')]
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:16]


def _done(messages: Sequence[types.Message]) -> set[str]:
  """Returns the names of tools that the agent has called without an error."""
  accepted = {m.id for m in messages if m.role == 'tool' and not m.error}
  return {call.name for m in messages if m.role == 'assistant'
          for call in m.tool_calls if call.id in accepted}


class DomainWorld:
  """`envs.env.World` over a copy-on-write state."""

  solo = False

  def __init__(self, state: state_lib.State,
               table: Mapping[types.Side, Mapping[str, tools.Tool]]):
    self.state = state
    self._tools = table

  def execute(self, requests: Sequence[types.ToolCall]) -> list[types.Message]:
    return [tools.call(self._tools[r.requestor], self.state, r)
            for r in requests]
