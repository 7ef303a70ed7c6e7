"""Records come back from JSON as what they were."""

import json

import numpy as np
import pytest

from agentrl import jsons
from agentrl import types

CALL = types.ToolCall('dim', {'lamp': 'a', 'to': [1, 2.5]}, requestor='user')
MOVES = (types.Message('user', 'Dim it.', requestor='user'),
         types.Message('assistant', tool_calls=(CALL,)))
CERTIFICATE = types.Certificate((True, False), (), {'noop': False}, 3, 2, 1, (),
                                1.0, 'f0')
TASK = types.Task(
    't', 'shop', 'You sit in the dark.',
    types.Criteria((types.Action('dim', {}, compare_args=('lamp',)),)),
    initial_state={'seed': 3, 'rows': [[1], {}]}, families=('dim',),
    demands=(types.TaskDemand('dim', 'Dim.', tell=('done',), writes=(1,),
                              forbidden=(CALL,), answers=(('now', 'dim'),)),),
    gold=types.GoldRun(MOVES, (1,), ((1, 'a'),)), certificate=CERTIFICATE,
    meta={'plan': {'id': 'x'}})
TRACE = types.Trace(
    np.array([5, 6], np.int32), np.array([0, 5], np.int8),
    np.array([0, -0.5], np.float32), np.array([-1, 0], np.int16))


@pytest.mark.parametrize('record', [
    TASK, CERTIFICATE, *MOVES, types.Beat('user', ('Hi.', 'Hello.')),
    types.Beat('assistant', call='dim', arguments={'to': 1}, demand=2,
               opens=True),
    types.Rejection(types.Worker.BUDGET, 'used up', problems=('a', 'b'))])
def test_what_is_written_is_read(record):
  text = jsons.dumps(record)
  again = jsons.from_json(type(record), json.loads(text))
  assert again == record and jsons.dumps(again) == text


def test_an_episode_has_arrays_and_an_outcome():
  played = types.Episode(
      't', 0, MOVES, 'user_stop', types.Outcome.SUCCESS,
      types.Score(1.0, {'CHECKER': 1.0}, {'lamp is dim': True}), 2, agent=TRACE)
  again = jsons.from_json(types.Episode, json.loads(jsons.dumps(played)))
  assert again.outcome is types.Outcome.SUCCESS and again.user is None
  assert (again.messages, again.score) == (played.messages, played.score)
  for name in TRACE.__slots__:
    one, two = getattr(TRACE, name), getattr(again.agent, name)
    if one is None:
      assert two is None
    else:
      np.testing.assert_array_equal(one, two)
      assert one.dtype == two.dtype


def test_defaults_are_left_out():
  assert jsons.to_json(types.Message('user', 'Hi.')) == {
      'role': 'user', 'content': 'Hi.'}
  assert jsons.to_json(CERTIFICATE)['survivors'] == []  # they have no default


@pytest.mark.parametrize('record, words', [
    ([], 'Task must be a JSON object, got list'),
    ({'id': 't', 'domain': 'd', 'scenario': '', 'meat': {}},
     r"Task has no field \['meat'\]"),
    ({'id': 't', 'domain': 'd', 'scenario': '', 'gold': {'move': []}},
     r"GoldRun has no field \['move'\]"),
    ({'id': 't', 'domain': 'd', 'scenario': '', 'criteria': {'actions': [3]}},
     'Action must be a JSON object, got int')])
def test_a_file_of_another_version_is_an_error(record, words):
  with pytest.raises(ValueError, match=words):
    jsons.from_json(types.Task, record)
