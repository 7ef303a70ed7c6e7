"""Texts of tasks and dialogues are read in full and compared by words."""

from agentrl import types
from agentrl.eigendata.check import texts


def test_texts_of_a_task_and_of_both_sides_but_not_of_tools():
  task = types.Task('1', 'x', 'You want a lamp.', types.Criteria(actions=(
      types.Action('buy', {'items': ['lamp 7'], 'count': 2}),)),
                    initial_state={'seed': 3})
  messages = [
      types.Message('user', 'Hi.', requestor='user'),
      types.Message('assistant', tool_calls=(
          types.ToolCall('look', {'shop': 'north'}),)),
      types.Message('tool', 'lamp 9')]
  assert list(texts.of_task(task, messages)) == [
      'You want a lamp.', '{"seed": 3}', 'lamp 7', '2', 'Hi.', 'north']


def test_grams_are_of_one_line():
  row = [f'w{i}' for i in range(texts.NGRAM + 1)]
  assert texts.grams([' '.join(row).upper() + '!']) == {
      ' '.join(row[:-1]), ' '.join(row[1:])}
  two_lines = ' '.join(row[:7]) + '\n' + ' '.join(row[7:])
  assert texts.grams([two_lines]) == set()
