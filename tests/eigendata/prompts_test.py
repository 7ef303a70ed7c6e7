"""Prompts of jobs: as JSON, or in words that are enough to play by."""

import dataclasses
import json
import re

import pytest

from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import sample as sample_lib
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


def test_brief_prompts_are_enough_for_certified_dialogues(maker, streams):
  reader, found = Reader(), []
  maker = dataclasses.replace(maker, llm=llm_lib.Meter(
      maker.llm, {'DialogSynthesis': reader}, {'DialogSynthesis'}))
  for i, stream in enumerate(streams(maker)[:8]):
    found.append(sample_lib.make(maker, stream, 'train', i))
  assert {(s.worker, s.reason) for s in found} <= {
      ('', ''), ('RandomPool', 'no caller fits')}
  assert sum(s.task is not None for s in found) > 4
  for system, tools in reader.asked:
    assert '"role"' not in system
    assert set(tools) == set(re.findall(
        '^You call: {"name": "([^"]*)', system, re.MULTILINE))


def test_the_stand_in_needs_the_json(config, streams):
  maker = sample_lib.maker(config(llm_roles=dict(
      DialogSynthesis=dict(brief=True))))
  with pytest.raises(ValueError, match='reads the JSON .* brief=True'):
    sample_lib.make(maker, streams(maker)[0], 'train', 0)
