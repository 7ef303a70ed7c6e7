"""Who speaks next, what ends a dialogue, and which limit wins.

The one place where these rules stand; rollouts, data, RL and evaluation all
play by it. They are those of tau2-bench's orchestrator (v0.2.1, run without
its optional judge), message for message:

* the agent greets, the user answers; text goes to the other side, calls go to
  the environment, and their results go back to the side that made them;
* text beside calls goes to the environment too: the other side never sees it;
* one generation, or the execution of all calls of one message, is one step;
* only the user can end a dialogue, by a stop token in a message without calls;
* limits are looked at after each step unless the environment is next, and win
  over a stop in that very step. Errors count for both sides, never reset.

One rule is ours: an empty message (which is also what an unreadable one is
parsed to) ends the dialogue as the fault of the side that sent it, where the
benchmark's harness would raise and start the simulation again.

`play_solo` has the rules of its solo mode, where the agent is alone, speaks
first and may only make calls, with the tools of both sides at hand:

* a call of `done` makes the whole message a stop; so does ###STOP### in a text
  without calls; any other text without calls is the agent's error;
* limits win over either in that very step;
* the very first message is no step: no limit is looked at after it, and a stop
  beside its calls ends the dialogue with the calls not executed.

A stop beside later calls, where the benchmark raises, is the agent's error.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
import dataclasses
import itertools

from agentrl import types
from agentrl.envs import env as env_lib

GREETING = types.Message('assistant', 'Hi! How can I help you today?')
STOP = '###STOP###'
TRANSFER = '###TRANSFER###'
OUT_OF_SCOPE = '###OUT-OF-SCOPE###'
STOP_TOKENS = (STOP, TRANSFER, OUT_OF_SCOPE)
DONE = 'done'  # the tool that ends a dialogue in solo mode

# For who plays moves that are known, and reads no prompt.
UNPROMPTED = dict.fromkeys(('assistant', 'user'), types.Message('system', ''))

_FLIP = {'user': 'assistant', 'assistant': 'user'}


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
  """A dialogue ends when either is reached."""

  max_steps: int = 200
  max_errors: int = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
  """`side` must speak.

  Attributes:
    side: who.
    new: (index, message) of all it has not seen yet, in its own view; the
      system prompt comes first, with index -1. Its own replies do not come
      back: it knows them already.
    index: the place its reply will take among the messages.
  """

  side: types.Side
  new: tuple[tuple[int, types.Message], ...]
  index: int


@dataclasses.dataclass(frozen=True, slots=True)
class End:
  """How a dialogue ended; `reason` is one of the six below, or what a
  dialogue that was not played here says of itself."""

  # user_stop agent_stop max_steps too_many_errors agent_error user_error
  reason: str
  messages: tuple[types.Message, ...]
  steps: int
  errors: int


def is_stop(message: types.Message) -> bool:
  """True if this user message ends the dialogue."""
  return not message.is_call and any(
      token in (message.content or '') for token in STOP_TOKENS)


def visible(message: types.Message, side: types.Side) -> bool:
  """True if `side` gets to see the message."""
  if message.role == 'tool':
    return message.requestor == side
  return message.role == side or not message.is_call


def seen_from(message: types.Message, side: types.Side) -> types.Message:
  """The message as `side` sees it: whoever looks is the assistant, and what
  the other one thought is not shown."""
  if message.thinking is not None and message.role != side:
    message = dataclasses.replace(message, thinking=None)
  if side == 'assistant' or message.role not in _FLIP:
    return message
  return dataclasses.replace(message, role=_FLIP[message.role])


def view(messages: Sequence[types.Message], side: types.Side,
         system: types.Message) -> list[tuple[int, types.Message]]:
  """(index, message) of a whole dialogue as one side sees it."""
  return [(-1, system)] + [(i, seen_from(m, side))
                 for i, m in enumerate(messages) if visible(m, side)]


def next_speaker(message: types.Message) -> str:
  """`assistant`, `user` or `env`: who acts on this message."""
  if message.role == 'tool':
    return message.requestor
  return 'env' if message.is_call else _FLIP[message.role]


def count_steps(messages: Sequence[types.Message]) -> int:
  """Steps that led to these messages: each after the opening, where the
  results of one message's calls are a single step."""
  return sum(not (before.role == message.role == 'tool')
             for before, message in itertools.pairwise(messages))


def play(world: env_lib.World, *, system: Mapping[types.Side, types.Message],
         limits: Limits = Limits(),
         history: Sequence[types.Message] = (GREETING,),
        ) -> Generator[Ask, types.Message, End]:
  """Plays one dialogue: yields `Ask`s, is sent replies, returns its `End`.

  Args:
    world: where calls are executed.
    system: the system message of each side.
    limits: on steps and errors.
    history: the messages it opens with; at least one.

  Yields:
    who must speak, and what it has not seen yet. A reply is sent in the
    side's own view, as role `assistant`.

  Raises:
    ValueError: no history.
    env.ToolBroken: see `World.execute`.
  """
  if not history:
    raise ValueError('A dialogue must open with at least one message, got '
                     'none: pass history=(GREETING,).')
  messages = list(history)
  unseen = {side: view(messages, side, system[side]) for side in _FLIP}
  steps = errors = 0
  ended = ''
  while not ended:
    to = next_speaker(messages[-1])
    if to == 'env':
      new = world.execute(messages[-1].tool_calls)
      errors += sum(m.error for m in new)
    else:
      ask = Ask(to, tuple(unseen[to]), len(messages))
      unseen[to].clear()
      new = [placed((yield ask), to, len(messages))]
      if not new[0].is_call and not new[0].has_text:
        ended = 'agent_error' if to == 'assistant' else 'user_error'
      elif to == 'user' and is_stop(new[0]):
        ended = 'user_stop'
    for message in new:
      for side in _FLIP:
        if side != message.role and visible(message, side):
          unseen[side].append((len(messages), seen_from(message, side)))
      messages.append(message)
    steps += 1
    if next_speaker(messages[-1]) == 'env' or ended.endswith('_error'):
      continue
    ended = _limit(limits, steps, errors) or ended
  return End(ended, tuple(messages), steps, errors)


def play_solo(world: env_lib.World, *,
              system: Mapping[types.Side, types.Message],
              limits: Limits = Limits()
             ) -> Generator[Ask, types.Message, End]:
  """`play` in solo mode: asks nobody but the assistant.

  Raises:
    env.ToolBroken: see `World.execute`.
  """
  messages: list[types.Message] = []
  unseen = view((), 'assistant', system['assistant'])
  steps, errors, ended = -1, 0, ''  # the very first message is no step
  while not ended:
    reply = yield Ask('assistant', tuple(unseen), len(messages))
    message = _done(placed(reply, 'assistant', len(messages)))
    messages.append(message)
    steps += 1
    ended, final = _solo_end(message, steps == 0)
    if not ended:
      new = world.execute(message.tool_calls)
      unseen = list(enumerate(new, len(messages)))
      messages += new
      errors += sum(m.error for m in new)
      steps += 1
    if not final:
      ended = _limit(limits, steps, errors) or ended
  return End(ended, tuple(messages), steps, errors)


def _solo_end(message: types.Message, first: bool) -> tuple[str, bool]:
  """How this message ends it ('' if not); True if no limit wins over that."""
  stops = STOP in (message.content or '')
  if message.is_call:
    how = 'agent_stop' if first else 'agent_error'
    return (how, True) if stops else ('', False)
  final = first or not message.has_text
  return ('agent_stop' if stops else 'agent_error'), final


def _done(message: types.Message) -> types.Message:
  """A message that calls `done` says no more than that it stops."""
  if all(call.name != DONE for call in message.tool_calls):
    return message
  return dataclasses.replace(message, content=STOP, tool_calls=())


def _limit(limits: Limits, steps: int, errors: int) -> str:
  """The limit that is reached, '' if none is."""
  if errors >= limits.max_errors:
    return 'too_many_errors'
  return 'max_steps' if steps >= limits.max_steps else ''


def placed(reply: types.Message, side: types.Side, index: int) -> types.Message:
  """A side's reply as it stands in the dialogue: true role, calls with ids."""
  calls = tuple(
      dataclasses.replace(call, requestor=side, id=call.id or f'{index}.{i}')
      for i, call in enumerate(reply.tool_calls))
  return dataclasses.replace(
      reply, role=side, requestor=side, tool_calls=calls)
