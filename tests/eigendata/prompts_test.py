"""Prompts of jobs: as JSON, or in words that are enough to play by."""

import dataclasses
import json
import re

import pytest

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.write import dialogues as talks
from agentrl.llm import llm as llm_lib

SCRIPT = [
    dict(by='user', say=['Dim it.', 'Dim it!'], call='', arguments={}),
    dict(by='assistant', say=[], call='dim', arguments={'lamp': 'a"b'}),
    dict(by='user', say=[], call='look', arguments={}),
    dict(by='assistant', say=['Done.'], call='', arguments={})]


@pytest.mark.parametrize('side, lines', [
    ('assistant', ['They: Dim it.', 'You call: {"name": "dim", "arguments": '
                   '{"lamp": "a\\"b"}}', 'You: Done.']),
    ('user', ['You: Dim it.', 'You call: {"name": "look", "arguments": {}}',
              'They: Done.'])])
def test_a_side_is_told_what_it_says_calls_and_hears(side, lines):
  assert prompts.in_words(SCRIPT, side).split('\n') == lines


class Reader:
  """Says line by line what a brief prompt has it say and call."""

  def __init__(self):
    self.asked = []

  def complete(self, messages, *, schema=None, tools=(), seed):
    system, *chat = messages
    self.asked.append((system.content, [t['function']['name'] for t in tools]))
    mine = re.findall('^You(: | call: )(.*)', system.content, re.MULTILINE)
    greeted = chat[0].role == 'assistant'
    how, line = mine[sum(m.role == 'assistant' for m in chat) - greeted]
    if how == ': ':
      return llm_lib.Reply(types.Message('assistant', line))
    return llm_lib.Reply(types.Message(
        'assistant', tool_calls=(types.ToolCall(**json.loads(line)),)))


def played_by(maker, player):
  return dataclasses.replace(maker, llm=llm_lib.Meter(
      maker.llm, {'DialogSynthesis': player}, {'DialogSynthesis'}))


def test_brief_prompts_are_enough_for_certified_dialogues(maker, streams):
  reader, found = Reader(), []
  maker = played_by(maker, reader)
  for i, stream in enumerate(streams(maker)[:8]):
    found.append(sample_lib.make(maker, stream, 'train', i))
  assert {s.rejection and s.rejection.name for s in found} <= {
      None, 'RandomPool: no caller fits'}
  assert sum(s.task is not None for s in found) > 4
  for system, tools in reader.asked:
    assert '"role"' not in system
    assert set(tools) == set(re.findall(
        '^You call: {"name": "([^"]*)', system, re.MULTILINE))


class Babbler:
  """Says one thing after another, and begins again."""

  def __init__(self, *words):
    self.words, self.asked = words, 0

  def complete(self, messages, *, schema=None, tools=(), seed):
    said = sum(m.role == 'assistant' for m in messages)
    self.asked += 1
    return llm_lib.Reply(types.Message(
        'assistant', self.words[said % len(self.words)]))


def test_a_talk_that_leads_nowhere_is_ended(maker, streams):
  stream, found = streams(maker)[0], {}
  for player in (Babbler('Well.'), Babbler('Well.', 'Oh.')):
    found[player] = sample_lib.make(played_by(maker, player), stream, 'train',
                                    0)
  (circles, first), (astray, second) = found.items()
  assert (first.rejection.name, circles.asked) == (
      'DialogSynthesis: goes in circles', 5)  # three and two
  assert second.rejection.worker == 'TrajectoryValidation'
  assert astray.asked % (2 * talks.ASTRAY) == 0  # two tries
  assert astray.asked < 200


def test_the_stand_in_needs_the_json(config, streams):
  maker = sample_lib.maker(config(llm_roles=dict(
      DialogSynthesis=dict(brief=True))))
  with pytest.raises(ValueError, match='reads the JSON .* brief=True'):
    sample_lib.make(maker, streams(maker)[0], 'train', 0)


@pytest.mark.parametrize('text, problem', [
    ("{{ 'x' * 10**9 }}", 'Mul'), ('{{ style ~ 2**9**9 }}', 'Pow'),
    ('{% for x in range(9) %}{% endfor %}', 'Call'),
    ('{{ style.upper() }}', 'Call'), ("{{ '%99999999d' % 1 }}", 'Mod'),
    ('{% macro f() %}{% endmacro %}', 'Macro'),
    ('{{ style | center(10000000) }}', 'the filter center'),
    ('{% for a in style %}{% for b in style %}{% for c in style %}'
     '{% endfor %}{% endfor %}{% endfor %}', 'too many loops')])
def test_a_revision_is_a_text_and_no_program(text, problem):
  with pytest.raises(prompts.Unfit, match=f'uses {problem}'):
    prompts.load().revised('user', text)


@pytest.mark.parametrize('text', [
    '{% if %}', '{{ style is odder }}', '{{ style | odder }}',
    '{{ %s }}' % ('9' * 9999), '{{ %sstyle }}' % ('not ' * 9999)])
def test_whatever_is_no_template_is_unfit(text):
  with pytest.raises(prompts.Unfit, match='is no template'):
    prompts.load().revised('user', text)


def test_all_first_prompts_could_be_revisions():
  first = prompts.load()
  for role, text in first.texts.items():
    assert first.revised(role, f'{text} ').texts[role] == f'{text} '
