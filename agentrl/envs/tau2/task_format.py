"""Writes tasks as entries of a tasks.json of tau2-bench, without the package.

Fields that this form lacks are kept in the field `agentrl` of an entry, which
the package's own `Task` ignores: `domain`, `kind`, `families`, the text of the
checker, its certificate, the plan, prompts and sample that made the task, and
the initial state if the domain is none of the package's. The package also
ignores `db_path`, the file of the database that a task starts from if that is
not the domain's own.
"""

from __future__ import annotations

from collections.abc import Iterable
import json
import pathlib
import re

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.envs import databases

EXTRA = 'agentrl'
_BEYOND = ('domain', 'kind', 'families', 'checker', 'certificate')
# The reward basis in place of our checker, which must agree with the end state
# and with the facts to be told.
_BASIS = {'CHECKER': ('DB', 'COMMUNICATE')}
# The package's print of a scenario; its parts are indented by two tabs.
_SCENARIO = re.compile(
    r'(?:Persona:\n(?P<persona>.*?)\n)?Instructions:\n(?:'
    r'\tDomain: (?P<domain>[^\n]*)'
    r'\n\tReason for call:\n(?P<reason_for_call>.*?)'
    r'(?:\n\tKnown info:\n(?P<known_info>.*?))?'
    r'(?:\n\tUnknown info:\n(?P<unknown_info>.*?))?'
    r'\n\tTask instructions:\n(?P<task_instructions>.*)|(?P<text>.*))',
    re.DOTALL)


def write(folder: pathlib.Path, split: str,
          tasks: Iterable[types.Task]) -> None:
  """Writes `tau2_tasks_<split>.json` of a data stage."""
  paths = {p.stem: f'{databases.FOLDER}/{p.name}'
           for p in (folder / databases.FOLDER).glob('*')}
  entries = (json.dumps(entry(task, paths.get(task.database, '')),
                        ensure_ascii=False) for task in tasks)
  files.write_text(folder / f'tau2_tasks_{split}.json',
                   '[\n' + ',\n'.join(entries) + '\n]\n')


def entry(task: types.Task, db_path: str = '') -> types.Json:
  """Converts a task to that form; `db_path` is the file of its database, ''
  for the database of its domain."""
  criteria = {'actions': [
      {'action_id': a.id, 'requestor': a.requestor, 'name': a.name,
       'arguments': a.arguments, 'info': a.info,
       'compare_args': a.compare_args} for a in task.criteria.actions]}
  for name in ('env_assertions', 'communicate_info', 'nl_assertions'):
    criteria[name] = getattr(task.criteria, name) or None
  criteria['reward_basis'] = [
      name for basis in task.criteria.reward_basis
      for name in _BASIS.get(basis, (basis,))]
  beyond = {name: getattr(task, name) for name in _BEYOND}
  beyond['plan'] = task.meta.get('plan')
  state = task.initial_state
  if not task.domain.startswith('tau2:'):
    state, beyond['initial_state'] = None, state
  return jsons.to_json({
      'id': task.id, 'description': {'purpose': ' + '.join(task.families)},
      'user_scenario': _scenario(task.scenario),
      'ticket': task.ticket, 'initial_state': state,
      'evaluation_criteria': criteria, 'db_path': db_path or None,
      EXTRA: beyond})


def _scenario(text: str) -> types.Json:
  """Splits a scenario that the package has printed; other text stays whole."""
  match = _SCENARIO.fullmatch(text)
  if not match:
    return {'instructions': text}
  parts = {k: v for k, v in match.groupdict().items() if v is not None}
  persona = {}
  if 'persona' in parts:
    persona = {'persona': _dedent(parts.pop('persona'), 1)}
  if 'text' in parts:
    return {**persona, 'instructions': _dedent(parts['text'], 1)}
  domain = parts.pop('domain')
  return {**persona, 'instructions': {
      'domain': domain, **{k: _dedent(v, 2) for k, v in parts.items()}}}


def _dedent(text: str, tabs: int) -> str:
  """Inverts `textwrap.indent`, which does not change empty lines."""
  return ''.join(line.removeprefix('\t' * tabs) if line.strip() else line
                 for line in text.splitlines(True))
