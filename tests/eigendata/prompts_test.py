"""Prompts of jobs: as JSON, or in words that are enough to play by."""

import dataclasses
import json
import re

import pytest

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.write import dialogues
from agentrl.llm import llm as llm_lib
from agentrl.llm.stand_in import procedural

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
      return llm_lib.Answer(types.Message('assistant', line))
    return llm_lib.Answer(types.Message(
        'assistant', tool_calls=(types.ToolCall(**json.loads(line)),)))


def played_by(context, player):
  rest = procedural.Procedural(dict.fromkeys(procedural.MISTAKEN, 0.0))
  return dataclasses.replace(context, llm=llm_lib.Meter(
      rest, {'DialogSynthesis': player}, {'DialogSynthesis'}))


def test_brief_prompts_are_enough_for_certified_dialogues(context, streams):
  reader, found = Reader(), []
  context = played_by(context, reader)
  for i, stream in enumerate(streams(context)[:8]):
    found.append(sample_lib.draw(context, stream, 'train', i))
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
    return llm_lib.Answer(types.Message(
        'assistant', self.words[said % len(self.words)]))


def test_a_talk_that_leads_nowhere_is_ended(context, streams):
  stream, found = streams(context)[0], {}
  for player in (Babbler('Well.'), Babbler('Well.', 'Oh.')):
    found[player] = sample_lib.draw(played_by(context, player), stream, 'train',
                                    0)
  (circles, first), (astray, second) = found.items()
  assert (first.rejection.name, circles.asked) == (
      'DialogSynthesis: goes in circles', 5)  # three and two
  assert second.rejection.worker == 'TrajectoryValidation'
  assert astray.asked % (2 * dialogues.MOST_LENGTH) == 0  # two tries
  assert astray.asked < 200


def test_the_stand_in_needs_the_json(make_context, streams):
  context = make_context(llm_roles=dict(
      DialogSynthesis=dict(brief=True)))
  with pytest.raises(ValueError, match='reads the JSON .* brief=True'):
    sample_lib.draw(context, streams(context)[0], 'train', 0)


@pytest.mark.parametrize('text, problem', [
    ("{{ 'x' * 10**9 }}", 'Mul'), ('{{ style ~ 2**9**9 }}', 'Pow'),
    ('{% for x in range(9) %}{% endfor %}', 'Call'),
    ('{{ style.upper() }}', 'Call'), ("{{ '%99999999d' % 1 }}", 'Mod'),
    ('{% macro f() %}{% endmacro %}', 'Macro'),
    ('{{ style | center(10000000) }}', 'the filter center'),
    ('{% for a in style %}{% for b in style %}{% for c in style %}'
     '{% endfor %}{% endfor %}{% endfor %}', 'too many loops')])
def test_a_revision_is_a_text_and_no_program(text, problem):
  with pytest.raises(prompts.UnfitPrompt, match=f'uses {problem}'):
    prompts.load().revised('user', text)


@pytest.mark.parametrize('text', [
    '{% if %}', '{{ style is odder }}', '{{ style | odder }}',
    '{{ %s }}' % ('9' * 9999), '{{ %sstyle }}' % ('not ' * 9999)])
def test_whatever_is_no_template_is_unfit(text):
  with pytest.raises(prompts.UnfitPrompt, match='is no template'):
    prompts.load().revised('user', text)


def test_all_first_prompts_could_be_revisions():
  first = prompts.load()
  for role, text in first.texts.items():
    assert first.revised(role, f'{text} ').texts[role] == f'{text} '
