"""A side that plays from a script finds its place, and makes its mistakes."""

import dataclasses
import random

import pytest

from agentrl import types
from agentrl.llm.stand_in import actor
from agentrl.llm.stand_in import mistakes


def beat(by, say='', demand=0, call='', opens=False, **arguments):
  return types.Beat(by, (say,) if say else (), call, arguments, demand, opens)


SCRIPT = [
    beat('user', 'Cancel a-b.'),
    beat('assistant', 'Cancel a-b for 30, okay?'),
    beat('user', 'Yes.'),
    beat('assistant', call='cancel', order='a-b'),
    beat('assistant', 'a-b is cancelled.'),
    beat('user', 'Move c-d.', demand=1, opens=True),
    beat('assistant', call='move', demand=1, order='c-d', day=3),
    beat('assistant', 'c-d is moved.', demand=1),
    beat('user', 'Bye. ###STOP###', demand=1),
]
DISTRACTORS = actor.Distractors(r'\b[a-z]-[a-z]\b', ('x-y', 'v-w'))


def message(text):
  if text.startswith('@'):
    return types.Message('assistant', tool_calls=(
        types.ToolCall(text[1:], {}),))
  role, _, words = text.partition(':')
  return types.Message(role, words)


def act(side, *seen, seed=0, wrong=False, style='brief'):
  payload = {'script': list(map(dataclasses.asdict, SCRIPT)), 'style': style,
             'entity': DISTRACTORS.entity, 'others': DISTRACTORS.others}
  said = actor.act(payload, [message(text) for text in seen], side, seed,
                   mistakes.MistakeDraw(wrong))
  if said.tool_calls:
    return said.tool_calls[0].name, dict(said.tool_calls[0].arguments)
  return said.content


AGENT = ('assistant:Hi!', 'user:Cancel a-b.')


def words(found, end):
  """What was said, but for a filler before it."""
  return found.endswith(end)


@pytest.mark.parametrize('seen, says', [
    (AGENT, 'Cancel a-b for 30, okay?'),
    ((*AGENT, 'assistant:Sure. Cancel a-b for 30, okay?', 'user:yes. Thanks.'),
     ('cancel', {'order': 'a-b'})),
    ((*AGENT, 'assistant:Cancel a-b for 30, okay?', 'user:Yes.', '@cancel',
      'tool:done'), 'a-b is cancelled.'),
    ((*AGENT, 'assistant:a-b is cancelled.', 'user:Move c-d.'),
     ('move', {'order': 'c-d', 'day': 3})),
    ((*AGENT, 'assistant:Cancel a-b for 30, okay?', 'user:What?'),
     ('cancel', {'order': 'a-b'})),
    ((*AGENT, 'assistant:c-d is moved.', 'user:Bye. ###STOP###'),
     'Is there anything else?'),
])
def test_the_agent_finds_its_place(seen, says):
  found = act('assistant', *seen)
  assert found == says or (isinstance(says, str) and words(found, says))


@pytest.mark.parametrize('seen, says', [
    (('user:Hi!',), 'Cancel a-b.'),
    (('user:Hi!', 'assistant:Cancel a-b.', 'user:Cancel a-b for 30, okay?'),
     'Yes.'),
    # The fact is wrong, yet it is the same question.
    (('user:Hi!', 'assistant:Cancel a-b.', 'user:Cancel a-b for 95, okay?'),
     'Yes.'),
    # The confirmation was skipped.
    (('user:Hi!', 'assistant:Cancel a-b.', 'user:a-b is cancelled.'),
     'Move c-d.'),
    # Refused: on to the next demand, and after the last one out.
    (('user:Hi!', 'assistant:Cancel a-b.', 'user:' + actor.REFUSAL),
     'Move c-d.'),
    (('user:Hi!', 'assistant:Cancel a-b.', 'user:a-b is cancelled.',
      'assistant:Move c-d.', 'user:' + actor.REFUSAL), actor.BYE),
])
def test_the_user_finds_its_place(seen, says):
  assert words(act('user', *seen), says)


@pytest.mark.parametrize('side', ['assistant', 'user'])
def test_every_mistake_is_made_and_keeps_the_script_playable(side):
  for flaw in actor.FLAWS[side]:
    flawed = [flaw(SCRIPT, DISTRACTORS, random.Random(s)) for s in range(20)]
    made = [f for f in flawed if f is not None]
    assert made, flaw.__name__
    assert all(f != SCRIPT for f in made), flaw.__name__
    assert all(f[0].by == 'user' for f in made), flaw.__name__


def test_styles_sound_different_and_say_the_same():
  for style in actor.FILLERS:
    if style != 'agent':
      said = {act('user', 'user:Hi!', seed=s, style=style) for s in range(40)}
      assert all('Cancel a-b.' in words for words in said)
      assert (len(said) == 1) == (style == 'brief')
