"""Schemas from type hints; bad calls answer clearly and change nothing."""

from typing import Literal

import pytest

from agentrl import types
from agentrl.envs import env
from agentrl.envs import state as state_lib
from agentrl.envs import tools


def set_status(db, key: str, status: Literal['on', 'off'], times: int = 1):
  """Sets the status of a lamp.

  Args:
    key: which lamp;
      as printed on it.
    status: the new status.
  """
  lamp = db.edit('lamps', key)
  lamp['status'] = status
  if times < 0:
    raise tools.ToolError('times must not be negative')
  return {'times': times}


def broken(db):
  """Breaks."""
  return db.nothing


TABLE = tools.by_name([set_status, broken])


def run(name, **arguments):
  state = state_lib.State({'lamps': {'a': {'status': 'off', 'w': 3}}})
  return state, tools.call(TABLE, state, types.ToolCall(name, arguments, 'i'))


def test_schema():
  function = TABLE['set_status'].schema['function']
  assert function['description'] == 'Sets the status of a lamp.'
  assert function['parameters'] == {
      'type': 'object', 'additionalProperties': False,
      'required': ['key', 'status'],
      'properties': {
          'key': {'type': 'string',
                  'description': 'which lamp; as printed on it.'},
          'status': {'type': 'string', 'enum': ['on', 'off'],
                     'description': 'the new status.'},
          'times': {'type': 'integer', 'default': 1}}}


def test_a_good_call_writes_and_answers():
  state, message = run('set_status', key='a', status='on')
  assert not message.error and message.content == '{"times": 1}'
  assert message.id == 'i'
  assert state.changes() == {'lamps.a.status': 'on'}


@pytest.mark.parametrize('name, arguments, words', [
    ('set_statu', {}, "no tool 'set_statu'.*set_status"),
    ('set_status', {'key': 'a'}, 'argument status is missing'),
    ('set_status', {'key': 'a', 'status': 'on', 'x': 1}, 'x is unknown'),
    ('set_status', {'key': 'a', 'status': 'on', 'times': '2'}, "got '2'"),
    ('set_status', {'key': 'a', 'status': 'dim'}, "'on' or 'off'"),
    ('set_status', {'key': 'a', 'status': 'on', 'times': -1}, 'negative'),
])
def test_a_bad_call_says_why_and_changes_nothing(name, arguments, words):
  state, message = run(name, **arguments)
  assert message.error and message.content.startswith('Error: ')
  import re
  assert re.search(words, message.content), message.content
  assert state.changes() == {}


def test_a_broken_tool_is_not_an_answer():
  with pytest.raises(env.ToolBroken, match='broken.*AttributeError'):
    run('broken')


def test_a_tool_without_docstring_or_types_is_refused():
  with pytest.raises(ValueError, match='no docstring'):
    tools.from_function(lambda db: None)

  def untyped(db, x):
    """Has no type."""
  with pytest.raises(ValueError, match="Parameter 'x'.*no type"):
    tools.from_function(untyped)


def test_state_shares_the_base_and_knows_what_changed():
  base = {'t': {'a': {'n': {'x': 1, 'y': [1]}, 'z': 1}}}
  state = state_lib.State(base)
  state.edit('t', 'a')['n']['x'] = 1.0  # another type is another value
  state.edit('t', 'b')['new'] = 5
  del state.edit('t', 'a')['z']
  assert state.changes() == {'t.a.n.x': 1.0, 't.b.new': 5, 't.a.z': None}
  assert base == {'t': {'a': {'n': {'x': 1, 'y': [1]}, 'z': 1}}}
  assert [k for k, _ in state.rows('t')] == ['a', 'b']
  assert state_lib.State(base).changes() == {}


def test_a_mark_is_left_alone_and_can_be_gone_back_to_again():
  state = state_lib.State({'t': {'a': {'n': [1]}, 'b': {}}})
  state.edit('t', 'a')['n'].append(2)
  mark, marked = state.mark(), {'t.a.n': [1, 2]}
  for key in ('b', 'c'):
    state.edit('t', 'a')['n'].append(3)
    state.edit('t', key)['new'] = True
    assert state.changes() == {'t.a.n': [1, 2, 3], f't.{key}.new': True}
    state.rewind(mark)
    assert state.changes() == marked
  state.edit('t', 'a').clear()
  state.mark()
  assert state.edit('t', 'a') == {}, 'an emptied record is not a new one'
