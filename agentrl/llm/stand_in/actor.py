"""Plays a side of a dialogue from a script, for the stand-in of an LLM.

The script is a list of `types.Beat`. A side finds its place in it from the
messages so far, so that it also goes on sensibly when the other side leaves the
script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import json
import random
import re
from typing import Any

from agentrl import jsons
from agentrl import types
from agentrl.llm.stand_in import mistakes

Script = list[types.Beat]

REFUSAL = 'I am sorry, I cannot help with that.'
BYE = 'Okay, bye. ###STOP###'
# Style of the user, or `agent` -> fillers before and after the words.
FILLERS = {
    'polite': (('Hello!', 'Excuse me!', 'If you please:'),
               ('Thank you.', 'Thanks a lot.', 'That is kind.')),
    'chatty': (('Well then.', 'So.', 'Oh.', 'Hmm.', 'You know what?'),
               ('It would help me a lot.', 'I hope that is fine.')),
    'hurried': (('Quick!', 'Hi.'), ('I have no time.', 'Be quick.')),
    'brief': ((), ()),
    'agent': (('Sure.', 'Of course.', 'Alright.'), ()),
}
FILLER_SHARE = {'user': 0.3, 'assistant': 0.1}
NEXT = ('One more thing.', 'Then there is this.', 'Next.', 'Something else:')
NEXT_SHARE = 0.4


@dataclasses.dataclass(frozen=True)
class Distractors:
  """Names that a mistake may bring in.

  Attributes:
    entity: pattern of the names of entities.
    others: names of entities that the task is not about.
  """

  entity: str
  others: tuple[str, ...]


def act(payload: Any, messages: Sequence[types.Message], side: types.Side,
        seed: int, draw: mistakes.MistakeDraw) -> types.Message:
  """Returns the next message of a side, seen from itself.

  Args:
    payload: `script`, `style`, `entity` (pattern of names) and `others` (names
      that the task is not about).
    messages: the dialogue as that side sees it, system prompt first.
    side: side that speaks.
    seed: seed of the dialogue; decides which mistake is made in it.
    draw: decides whether a mistake is made.
  """
  distractors = Distractors(payload['entity'], tuple(payload['others']))
  script = _script(json.dumps(payload['script']), distractors, side, seed, draw)
  beat = _next(script, messages, side)
  rng = random.Random(f'{side}/{seed}/{len(messages)}')
  if beat is None:
    return types.Message('assistant', BYE if side == 'user'
                         else 'Is there anything else?')
  if beat.call:
    call = types.ToolCall(beat.call, beat.arguments)
    return types.Message('assistant', tool_calls=(call,))
  style = payload['style'] if side == 'user' else 'agent'
  return types.Message('assistant', _worded(beat, side, style, rng))


def _worded(beat: types.Beat, side: types.Side, style: str,
            rng: random.Random) -> str:
  words = rng.choice(beat.say)
  if beat.opens and rng.random() < NEXT_SHARE:
    return f'{rng.choice(NEXT)} {words}'
  before, after = FILLERS[style]
  choices = ([f'{filler} {words}' for filler in before]
             + [f'{words} {filler}' for filler in after])
  if '###' in words or not choices or rng.random() >= FILLER_SHARE[side]:
    return words
  return rng.choice(choices)


def _next(script: Script, messages: Sequence[types.Message],
          side: types.Side) -> types.Beat | None:
  """Returns the beat that is up; None once the script is over."""
  other = 'user' if side == 'assistant' else 'assistant'
  place, known = 0, True
  for message in messages:
    if message.role in ('assistant', 'user'):
      by = side if message.role == 'assistant' else other
      after = _find(script, place, by, message)
      known = after is not None
      place = after if known else place
  rest = script[place:]
  lost = not known and place > 0 and messages[-1].role == 'user'
  if lost and side == 'user':  # refused, or talked past: on to the next demand
    demand = script[place - 1].demand
    rest = [b for b in rest if b.demand != demand]
  return next((b for b in rest if b.by == side), None)


def _find(script: Script, place: int, by: str,
          message: types.Message) -> int | None:
  """Returns the place after the first beat, from `place` on, that a message
  matches; None without one."""
  ahead = [(i + 1, b) for i, b in enumerate(script) if i >= place
           and b.by == by and bool(b.call) == message.is_call]
  if message.is_call:
    names = {c.name for c in message.tool_calls}
    return next((i for i, b in ahead if b.call in names), None)
  text = (message.content or '').lower()
  for close in (_within, _alike):
    for i, beat in ahead:
      if any(close(words.lower(), text) for words in beat.say):
        return i
  return None


def _within(words: str, text: str) -> bool:
  return words in text


def _alike(words: str, text: str) -> bool:
  """Returns whether most of the words are the same."""
  a, b = _bag(words), _bag(text)
  return len(a & b) >= 0.6 * len(a | b)


@functools.lru_cache(maxsize=4096)
def _bag(text: str) -> frozenset[str]:
  return frozenset(re.findall(r'\w+', text))


@functools.lru_cache(maxsize=64)
def _script(script: str, distractors: Distractors, side: types.Side, seed: int,
            draw: mistakes.MistakeDraw) -> Script:
  """Returns the script as a side plays it, with its mistake built in."""
  beats = list(jsons.all_from_json(types.Beat, json.loads(script)))
  if not draw.due:
    return beats
  rng = random.Random(f'flaw/{side}/{seed}')
  flaws = list(FLAWS[side])
  rng.shuffle(flaws)
  for flaw in flaws:  # not every mistake can be made in every dialogue
    if (flawed := flaw(beats, distractors, rng)) is not None:
      return flawed if draw.makes(flaw.__name__[1:]) else beats
  return beats


Flaw = Callable[[Script, Distractors, random.Random], Script | None]


def _own(script: Script, by: str, call: bool) -> list[int]:
  return [i for i, b in enumerate(script)
          if b.by == by and bool(b.call) == call]


def _with(script: Script, i: int, **fields: Any) -> Script:
  beat = dataclasses.replace(script[i], **fields)
  return [*script[:i], beat, *script[i + 1:]]


def _demand(script: Script, rng: random.Random) -> list[int]:
  """Returns the places of the beats of one demand."""
  demand = rng.randrange(script[-1].demand + 1)
  return [i for i, b in enumerate(script) if b.demand == demand]


def _wrong_argument(script: Script, distractors: Distractors,
                    rng: random.Random) -> Script | None:
  calls = [i for i in _own(script, 'assistant', True)
           if script[i].arguments]
  if not calls:
    return None
  i = rng.choice(calls)
  arguments = dict(script[i].arguments)
  name = rng.choice(sorted(arguments))
  match arguments[name]:
    case bool(value):
      arguments[name] = not value
    case int(value):
      arguments[name] = value + rng.choice((-1, 1, 5))
    case list(values):
      arguments[name] = values[:-1]
    case _:
      arguments[name] = rng.choice(distractors.others)
  return _with(script, i, arguments=arguments)


def _skipped_confirmation(script: Script, distractors: Distractors,
                          rng: random.Random) -> Script | None:
  del distractors
  asks = [i for i in _own(script, 'assistant', False)
          if [b.by for b in script[i + 1:i + 3]] == ['user', 'assistant']
          and script[i + 1].say and script[i + 2].call]
  if not asks:
    return None
  i = rng.choice(asks)
  return script[:i] + script[i + 2:]


def _forgotten(script: Script, distractors: Distractors,
               rng: random.Random) -> Script | None:
  """Tells the user that a demand is met, but does nothing."""
  del distractors
  places = _demand(script, rng)
  says = [i for i in places if i in _own(script, 'assistant', False)]
  return script[:places[0] + 1] + script[says[-1]:]


def _doubled(script: Script, distractors: Distractors,
             rng: random.Random) -> Script | None:
  del distractors
  i = rng.choice(_own(script, 'assistant', True))
  return script[:i + 1] + script[i:]


def _wrong_fact(script: Script, distractors: Distractors,
                rng: random.Random) -> Script | None:
  """Puts another number, or another entity, into the agent's words."""
  says = [i for i in _own(script, 'assistant', False)
          if re.search(rf'\d|{distractors.entity}', ' '.join(script[i].say))]
  if not says:
    return None
  i = rng.choice(says)
  number, thing = str(rng.randint(5, 95)), rng.choice(distractors.others)
  say = tuple(re.sub(distractors.entity, thing, re.sub(r'\d+', number, words))
              for words in script[i].say)
  return _with(script, i, say=say)


def _refusal(script: Script, distractors: Distractors,
             rng: random.Random) -> Script | None:
  del distractors
  places = _demand(script, rng)
  refusal = dataclasses.replace(script[places[0]], by='assistant',
                                say=(REFUSAL,))
  return script[:places[0] + 1] + [refusal] + script[places[-1] + 1:]


def _unsaid(script: Script, distractors: Distractors,
            rng: random.Random) -> Script | None:
  """Leaves out a demand of the user."""
  del distractors
  places = _demand(script, rng)
  if places[0] == 0:
    return None  # it opens with its first demand
  return script[:places[0]] + script[places[-1] + 1:]


def _made_up(script: Script, distractors: Distractors,
             rng: random.Random) -> Script | None:
  """Has the user name an entity that the task is not about."""
  says = [i for i in _own(script, 'user', False)
          if re.search(distractors.entity, ' '.join(script[i].say))]
  if not says:
    return None
  i, thing = rng.choice(says), rng.choice(distractors.others)
  return _with(script, i, say=tuple(re.sub(distractors.entity, thing, words)
                                    for words in script[i].say))


def _early(script: Script, distractors: Distractors,
           rng: random.Random) -> Script | None:
  """Has the user leave before all demands are met."""
  del distractors
  says = _own(script, 'user', False)
  i = rng.choice(says[1:])
  return _with(script, i, say=(BYE,))


FLAWS: dict[str, tuple[Flaw, ...]] = {
    'assistant': (_wrong_argument, _skipped_confirmation, _forgotten, _doubled,
                  _wrong_fact, _refusal),
    'user': (_unsaid, _made_up, _early),
}
