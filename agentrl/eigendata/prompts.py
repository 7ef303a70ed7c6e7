"""The prompts of planner, critic, engineer and workers: templates and schemas.

A prompt is a jinja2 template in `templates/`, and below it one line of JSON
with the payload of the job; or, for a small model that plays a side, only its
script in words. Prompts are values: a revision makes new ones, which are named
by the hash of their texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox

from agentrl import types
from agentrl.llm import llm as llm_lib

# Role -> variables that its template may use.
FIELDS = {
    'planner': ('about', 'domains', 'styles', 'split', 'demands', 'earlier',
                'critique'),
    'intent': ('knowledge', 'style', 'drafts', 'others'),
    'goal': ('policy', 'tools', 'records', 'families', 'other', 'style',
             'setups', 'critique'),
    'review': ('policy', 'scenario', 'kind', 'transcript'),
    'checker': ('changes', 'tell', 'before', 'confirmed', 'times', 'words',
                'code', 'critique'),
    'agent': ('script', 'style', 'others', 'entity', 'critique'),
    'user': ('script', 'style', 'others', 'entity', 'critique'),
    'judge': ('rubric', 'failures', 'policy', 'scenario', 'transcript',
              'entity', 'tell', 'writes', 'clauses'),
    'critic': ('plan', 'rejected', 'examples'),
    'engineer': ('prompted', 'text', 'variables', 'critiques', 'tried'),
}
# Roles whose prompts evolve. Judge and reviewer belong to the referee.
EVOLVING = ('intent', 'goal', 'checker', 'agent', 'user')
_TEXT = {'type': 'string'}
_TEXTS = {'type': 'array', 'items': _TEXT}
_CALL = {'name': _TEXT, 'arguments': {'type': 'object'}}


def _object(**fields: Any) -> dict[str, Any]:
  return {'type': 'object', 'required': list(fields), 'properties': fields}


SCHEMAS: dict[str, dict[str, Any]] = {
    'planner': _object(plan={'anyOf': [{'type': 'null'}, _object(
        domain=_TEXT, demands={'type': 'integer'}, families=_TEXTS,
        style=_TEXT, rubric=_TEXTS, failures=_TEXTS)]}),
    'intent': _object(scenario=_TEXT, demands={
        'type': 'array', 'items': _object(draft={'type': 'integer'},
                                          goal=_TEXT)}),
    'goal': _object(
        knowledge=_TEXT, setup={'type': 'array', 'items': {'type': 'integer'}},
        records={'type': 'object'}, demands={
            'type': 'array', 'minItems': 1, 'items': _object(
                family=_TEXT, goal=_TEXT, ask=_TEXT,
                kind={'enum': ['do', 'refuse', 'transfer', 'fallback']},
                calls={'type': 'array', 'items': _object(
                    by={'enum': ['assistant', 'user']}, **_CALL)},
                tell=_TEXTS,
                forbidden={'type': 'array', 'items': _object(**_CALL)})}),
    'review': _object(ok={'type': 'boolean'}, problem=_TEXT),
    'checker': _object(code=_TEXT),
    'judge': _object(success={'type': 'boolean'},
                     fault={'enum': ['none', 'task', 'trajectory']},
                     critique=_TEXT),
    'critic': _object(critiques={'type': 'array', 'items': _object(
        role={'enum': list(EVOLVING)}, problem=_TEXT, evidence=_TEXT,
        advice=_TEXT)}),
    'engineer': _object(text=_TEXT, failures=_TEXTS),
}
_JINJA = jinja2.sandbox.ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_template = functools.lru_cache(maxsize=512)(_JINJA.from_string)

# Nodes that a revision may consist of: none that can run for long or take much
# memory, as calls (`range`), sums and products (`'x' * 10**9`) can.
_NODES = tuple(getattr(jinja2.nodes, name) for name in (
    'Template', 'Output', 'TemplateData', 'Name', 'Const', 'List', 'Tuple',
    'Getattr', 'Getitem', 'Slice', 'If', 'For', 'CondExpr', 'Compare',
    'Operand', 'And', 'Or', 'Not', 'Test', 'Filter', 'Keyword', 'Concat'))
_FILTERS = ('capitalize', 'count', 'default', 'e', 'escape', 'first', 'join',
            'last', 'length', 'list', 'lower', 'safe', 'sort', 'string',
            'title', 'tojson', 'trim', 'unique', 'upper')
_DEPTH = 2  # of nested loops


class UnfitPrompt(ValueError):
  """A revision that cannot be used as a prompt; the text is a critique."""


@dataclasses.dataclass(frozen=True)
class Prompts:
  """The texts of all roles; see `load`."""

  texts: Mapping[str, str]

  @functools.cached_property
  def version(self) -> str:
    """Hash of all texts and schemas."""
    text = json.dumps([dict(self.texts), SCHEMAS], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

  def system(self, role: str, payload: Mapping[str, Any], *,
             brief: bool = False) -> types.Message:
    """Returns the system prompt of a role for one job.

    Args:
      role: role of the prompt.
      payload: variables of the job.
      brief: whether a side of a dialogue gets its script in words only.
    """
    text = _template(self.texts[role]).render(payload)
    if brief and role in llm_lib.SIDES:
      job = in_words(payload['script'], llm_lib.SIDES[role])
    else:
      job = json.dumps({'role': role, **payload}, ensure_ascii=False)
    return types.Message('system', f'{text}\n{job}')

  def revised(self, role: str, text: str) -> Prompts:
    """Returns the same prompts with another text for a role.

    Raises:
      UnfitPrompt: it is empty, is no template, uses unknown variables, or
        contains more than text, variables, conditions and short loops.
    """
    if not text.strip():
      raise UnfitPrompt(f'The new prompt for {role} is empty.')
    try:
      tree = _JINJA.parse(text)
      problem = _program(tree)
      # Of a program it would compute the constants first, as 'x' * 10**9.
      used = () if problem else jinja2.meta.find_undeclared_variables(tree)
    except Exception as e:  # beside syntax: numbers too long, nesting too deep
      raise UnfitPrompt(
          f'The new prompt for {role} is no template: {e}.') from e
    if problem:
      raise UnfitPrompt(
          f'The new prompt for {role} uses {problem}: use variables, if, up to '
          f'{_DEPTH} loops in each other, and of filters {_FILTERS} alone.')
    if unknown := sorted(set(used) - set(FIELDS[role])):
      raise UnfitPrompt(f'The new prompt for {role} uses {unknown}; there are '
                  f'{list(FIELDS[role])}.')
    return Prompts({**self.texts, role: text})


def _program(node: jinja2.nodes.Node, loops: int = 0) -> str:
  """Returns the first part of a template that may not be in one; '' without."""
  if not isinstance(node, _NODES):
    return type(node).__name__
  if isinstance(node, jinja2.nodes.Filter) and node.name not in _FILTERS:
    if node.name not in _JINJA.filters:
      raise jinja2.TemplateAssertionError(
          f'No filter named {node.name!r}.', node.lineno)
    return f'the filter {node.name}'
  loops += isinstance(node, jinja2.nodes.For)
  if loops > _DEPTH:
    return 'too many loops in each other'
  return next(filter(None, (_program(child, loops)
                            for child in node.iter_child_nodes())), '')


def in_words(script: Sequence[Mapping[str, Any]], side: types.Side) -> str:
  """Returns a script as lines of the things that a side says, calls and
  hears."""
  lines = []
  for beat in script:
    own = beat['by'] == side
    if beat['say']:
      lines.append(f'{"You" if own else "They"}: {beat["say"][0]}')
    elif own:
      call = {'name': beat['call'], 'arguments': beat['arguments']}
      lines.append(f'You call: {json.dumps(call, ensure_ascii=False)}')
  return '\n'.join(lines)


@functools.cache
def load() -> Prompts:
  """Reads the prompts that every run starts from."""
  folder = pathlib.Path(__file__).parent / 'templates'
  return Prompts({role: (folder / f'{role}.j2').read_text()
                  for role in FIELDS})


class Unrenderable(llm_lib.BadAnswer):
  """A template that does not suit the payload of a job."""

  kind = 'prompt fails'


# Role -> worker that its calls are counted for, and that may have a model of
# its own (config.llm_roles).
STAGES = {
    'planner': types.Worker.PLANNER, 'intent': types.Worker.USER_INTENT,
    'goal': types.Worker.USER_INTENT,
    'review': types.Worker.TASK_VALIDATION,
    'checker': types.Worker.VALIDATION_FUNCTION,
    'agent': types.Worker.DIALOG_SYNTHESIS,
    'user': types.Worker.DIALOG_SYNTHESIS,
    'judge': types.Worker.TRAJECTORY_VALIDATION,
    'critic': types.Worker.CRITIC, 'engineer': types.Worker.PROMPT_ENGINEER}


@dataclasses.dataclass(frozen=True)
class Writer:
  """A metered LLM, and the prompts that it works by."""

  llm: llm_lib.Meter
  prompts: Prompts

  @property
  def brief(self) -> bool:
    """Whether the model that plays the sides of dialogues wants short
    prompts."""
    return self.llm.wants_brief(types.Worker.DIALOG_SYNTHESIS)

  def system(self, role: str, payload: Mapping[str, Any]) -> types.Message:
    """Returns the system prompt of a role for one job.

    Raises:
      Unrenderable: the template fails on this payload.
    """
    try:
      brief = role in llm_lib.SIDES and self.brief
      return self.prompts.system(role, payload, brief=brief)
    except Exception as e:  # a revised template may raise anything
      raise Unrenderable(f'The prompt of {role} fails on its job: {e!r:.200}',
                         stage=STAGES[role]) from e

  def write(self, role: str, payload: Mapping[str, Any], seed: int) -> Any:
    """Returns the answer of a role to one job, in the form of its schema."""
    return self.llm.complete(
        [self.system(role, payload)], stage=STAGES[role],
        schema=SCHEMAS[role], seed=seed).value

  def speak(self, messages: Sequence[types.Message],
            tools: Sequence[Mapping[str, Any]], seed: int) -> types.Message:
    """Returns the next message of a side in a dialogue."""
    return self.llm.complete(
        messages, stage=types.Worker.DIALOG_SYNTHESIS, tools=tools,
        seed=seed).message
