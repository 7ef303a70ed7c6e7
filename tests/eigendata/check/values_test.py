"""Other values for arguments come from the database, one for each place."""

import random

from agentrl import types
from agentrl.eigendata.check import values

TABLES = {'people': {'ann': {'city': 'Oslo', 'tags': ['red', 'blue']},
                     'bob': {'city': 'Rome', 'tags': ['green']}}}


class Env:
  """A domain of one table and one tool."""

  def tables(self):
    return TABLES

  def tools(self, side, task):
    fields = {'person': {}, 'kind': {'enum': ['a', 'b', 'c']}, 'amount': {},
              'places': {}}
    return ({'function': {'name': 'go', 'parameters': {
        'properties': fields}}},)


def variants(name, value, shown=''):
  proposer = values.Proposer(Env(), types.Task('1', 'x', ''), shown,
                             random.Random(0))
  return list(proposer.variants(types.ToolCall('go', {name: value}), name))


def test_a_plain_argument_has_one_place():
  assert variants('kind', 'b') == [['a', 'c']]
  assert variants('amount', 3) == [[4, 2]]
  assert variants('amount', True) == [[False]]
  assert variants('person', 'ann') == [['bob']]
  assert variants('person', 'nobody') == [['nobody x']]
  assert variants('unknown', 'Oslo') == [['Rome']]
  assert variants('amount', None) == []


def test_strings_that_tools_have_shown_come_first():
  first = [variants('places', 'red', shown)[0][0]
           for shown in ('It is blue.', 'It is green.')]
  assert first == ['blue', 'green']


def test_each_place_of_a_list_or_an_object_is_changed_by_itself():
  value = [{'city': 'Oslo', 'days': 2}, {'city': 'Rome', 'days': 5}]
  shorter, *places = variants('places', value)
  assert shorter == [value[:1]]
  assert places == [
      [[{'city': 'Rome', 'days': 2}, value[1]]],
      [[{'city': 'Oslo', 'days': 3}, value[1]],
       [{'city': 'Oslo', 'days': 1}, value[1]]],
      [[value[0], {'city': 'Oslo', 'days': 5}]],
      [[value[0], {'city': 'Rome', 'days': 6}],
       [value[0], {'city': 'Rome', 'days': 4}]]]
  assert value[0]['city'] == 'Oslo'  # nothing was changed in place


def test_the_strings_of_a_database_include_its_keys():
  assert values.strings(Env(), {}) >= {'ann', 'bob', 'Oslo', 'green'}
