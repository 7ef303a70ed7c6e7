"""Rows of SFT: dialogues as one side sees them, tokenised and packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agentrl import types
from agentrl.data import episodes
from agentrl.data import pack
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from agentrl.stage import inputs
from agentrl.tokenizer import formats
from agentrl.tokenizer import vocab as vocab_lib


def packed(data: inputs.Input, vocab: vocab_lib.AnyVocab,
           env: env_load.ManyEnvs, *, side: types.Side, length: int,
           history_thinking: formats.Keeps) -> dict[str, np.ndarray]:
  """Tokenises the dialogues as one side sees them and packs them into rows.

  The targets are that side's thinking, words, calls and end marks, each once;
  the greeting is the environment's and no target. A dialogue is one sequence
  or, if its history loses earlier thinking, several: each holds the messages
  that the model had before it when it spoke. Sequences longer than a row are
  left out, and their number is printed.

  Args:
    data: the data stage.
    vocab: vocabulary of the model.
    env: renders the system prompts.
    side: side to train.
    length: tokens of a row.
    history_thinking: see `formats.Keeps`.

  Returns:
    ids_BT, target_BT, positions_BT, segments_BT; see `data.pack.pack`.
  """
  items = []
  for task, messages in episodes.read(data):
    view = dialogue.view(messages, side, env.prompt(side, task))
    items += [_item(vocab, *sequence) for sequence in sequences(
        [message for _, message in view], history_thinking)]
  fitting = [item for item in items if len(item['ids']) <= length]
  if len(fitting) < len(items):
    longest = max(len(item['ids']) for item in items)
    print(f'{len(items) - len(fitting)} of {len(items)} sequences are longer '
          f'than config.length={length} tokens (up to {longest}): left out.')
  return pack.pack(fitting, length=length)


class Turns(NamedTuple):
  """Consecutive turns that share one history.

  Attributes:
    messages: the messages, as the model has them.
    first_target: index of the first message that has not been in an earlier
      sequence; only messages from here on are targets.
  """

  messages: list[types.Message]
  first_target: int


def sequences(view: Sequence[types.Message], keeps: formats.Keeps
              ) -> list[Turns]:
  """Splits a dialogue into the sequences that its model had when it spoke.

  A turn lengthens the sequence before it if no message of that was changed
  since; otherwise it begins another one.

  Args:
    view: the dialogue in the view of that side.
    keeps: see `formats.history`.
  """
  parts = [Turns([], 0)]
  for n, message in enumerate(view):
    if message.role != 'assistant':
      continue
    past, first_target = parts[-1]
    now = [*formats.history(view[:n], keeps), message]
    if now[:len(past)] == past:
      parts[-1] = Turns(now, first_target)
    else:
      parts.append(Turns(now, n))
  parts[-1].messages.extend(view[len(parts[-1].messages):])
  return parts


def _item(vocab: vocab_lib.AnyVocab, messages: Sequence[types.Message],
          first_target: int) -> dict[str, np.ndarray]:
  ids, authors = formats.render_all(vocab, messages)
  target_T = np.array(authors) == types.Author.SELF
  if dialogue.GREETING in messages[:2]:
    first_target = max(first_target, 2)
  context, _ = formats.render_all(vocab, messages[:first_target])
  target_T[:len(context)] = False
  return {'ids': np.array(ids, np.int32), 'target': target_T}
