"""Plays dialogues: turns, ends and limits.

The rules stand here alone; rollouts, data, RL and evaluation all play by them.
They are those of tau2-bench's orchestrator (v0.2.1, run without
its optional judge), message for message:

* the agent greets, the user answers; text goes to the other side, calls go to
  the environment, and their results go back to the side that made them;
* text beside calls goes to the environment too: the other side never sees it;
* one generation, or the execution of all calls of one message, is one step;
* only the user can end a dialogue, by a stop token in a message without calls;
* limits are checked after each step unless the environment is next, and win
  over a stop in the same step. Errors of both sides are counted, and the count
  is never reset.

One rule is ours: an empty message (to which an unreadable one is parsed) ends
the dialogue as the fault of the side that sent it, where the benchmark's
harness would raise and start the simulation again.

`play_solo` has the rules of its solo mode, where the agent is alone, speaks
first and may only make calls, with the tools of both sides at hand:

* a call of `done` makes the whole message a stop; so does ###STOP### in a text
  without calls; any other text without calls is the agent's error;
* limits win over either in the same step;
* the first message is no step: no limit is checked after it, and a stop
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

# For players of known moves, which read no prompt.
UNPROMPTED = dict.fromkeys(('assistant', 'user'), types.Message('system', ''))

_FLIP = {'user': 'assistant', 'assistant': 'user'}


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
  """Limits of a dialogue, which ends when either is reached."""

  max_steps: int = 200  # see `count_steps`
  max_errors: int = 10  # refused calls of both sides


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
  """`side` must speak.

  Attributes:
    side: the side that must speak.
    new: (index, message) of each message it has not seen yet, in its own view;
      the system prompt comes first, with index -1. Its own replies are left
      out.
    index: index of its reply among the messages of the dialogue.
  """

  side: types.Side
  new: tuple[tuple[int, types.Message], ...]
  index: int


@dataclasses.dataclass(frozen=True, slots=True)
class End:
  """The end of a dialogue.

  `reason` is one of the six below; dialogues that were not played here may have
  others.
  """

  # user_stop agent_stop max_steps too_many_errors agent_error user_error
  reason: str
  messages: tuple[types.Message, ...]
  steps: int
  errors: int


def is_stop(message: types.Message) -> bool:
  """Returns whether this user message ends the dialogue."""
  return not message.is_call and any(
      token in (message.content or '') for token in STOP_TOKENS)


def visible(message: types.Message, side: types.Side) -> bool:
  """Returns whether `side` sees the message."""
  if message.role == 'tool':
    return message.requestor == side
  return message.role == side or not message.is_call


def seen_from(message: types.Message, side: types.Side) -> types.Message:
  """Returns the message in the view of `side`.

  In its own view each side is the assistant; the other side's thinking is
  removed.
  """
  if message.thinking is not None and message.role != side:
    message = dataclasses.replace(message, thinking=None)
  if side == 'assistant' or message.role not in _FLIP:
    return message
  return dataclasses.replace(message, role=_FLIP[message.role])


def view(messages: Sequence[types.Message], side: types.Side,
         system: types.Message) -> list[tuple[int, types.Message]]:
  """Returns (index, message) of a whole dialogue in the view of one side."""
  return [(-1, system)] + [(i, seen_from(m, side))
                           for i, m in enumerate(messages)
                           if visible(m, side)]


def next_speaker(message: types.Message) -> str:
  """Returns the side that acts on this message: assistant, user or env."""
  if message.role == 'tool':
    return message.requestor
  return 'env' if message.is_call else _FLIP[message.role]


def count_steps(messages: Sequence[types.Message]) -> int:
  """Counts the steps that led to these messages.

  Each message after the first is a step; the results of one message's calls are
  a single step.
  """
  return sum(not (before.role == message.role == 'tool')
             for before, message in itertools.pairwise(messages))


def play(world: env_lib.World, *, system: Mapping[types.Side, types.Message],
         limits: Limits = Limits(),
         history: Sequence[types.Message] = (GREETING,),
        ) -> Generator[Ask, types.Message, End]:
  """Plays one dialogue: yields `Ask`s, is sent replies, returns its `End`.

  Args:
    world: executes the calls.
    system: the system message of each side.
    limits: largest numbers of steps and errors.
    history: opening messages; at least one.

  Yields:
    the next turn. Its reply is sent in the side's own view, as role
    `assistant`.

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
  """Plays a dialogue in solo mode: asks the assistant alone; see `play`.

  Raises:
    env.ToolBroken: see `World.execute`.
  """
  messages: list[types.Message] = []
  unseen = view((), 'assistant', system['assistant'])
  steps, errors, ended = -1, 0, ''  # the first message is no step
  while not ended:
    reply = yield Ask('assistant', tuple(unseen), len(messages))
    message = _with_done_as_stop(placed(reply, 'assistant', len(messages)))
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
  """Returns the end of the dialogue by this message, and if it is final.

  Returns:
    reason ('' if it does not end); True if no limit wins over it.
  """
  stops = STOP in (message.content or '')
  if message.is_call:
    reason = 'agent_stop' if first else 'agent_error'
    return (reason, True) if stops else ('', False)
  final = first or not message.has_text
  return ('agent_stop' if stops else 'agent_error'), final


def _with_done_as_stop(message: types.Message) -> types.Message:
  """Returns a bare stop in place of a message that calls `done`."""
  if all(call.name != DONE for call in message.tool_calls):
    return message
  return dataclasses.replace(message, content=STOP, tool_calls=())


def _limit(limits: Limits, steps: int, errors: int) -> str:
  """Returns the limit that is reached, '' if none is."""
  if errors >= limits.max_errors:
    return 'too_many_errors'
  return 'max_steps' if steps >= limits.max_steps else ''


def placed(reply: types.Message, side: types.Side, index: int) -> types.Message:
  """Returns a reply as the dialogue keeps it: true role, calls with ids."""
  calls = tuple(
      dataclasses.replace(call, requestor=side, id=call.id or f'{index}.{i}')
      for i, call in enumerate(reply.tool_calls))
  return dataclasses.replace(
      reply, role=side, requestor=side, tool_calls=calls)
