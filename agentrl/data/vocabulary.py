"""The tokenizer stage: a vocabulary trained on the dialogues of a data set."""

from __future__ import annotations

from collections.abc import Iterator

import ml_collections

from agentrl import types
from agentrl.data import episodes
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.stage import runs
from agentrl.tokenizer import chat
from agentrl.tokenizer import vocab as vocab_lib

FILE = 'vocab.model'


def load(folder: str, field: str = 'tokenizer') -> vocab_lib.Vocab:
  """The vocabulary of a finished tokenizer stage.

  Raises:
    ValueError: `folder` is not one.
  """
  runs.manifest(folder, field)
  return vocab_lib.load(f'{folder}/{FILE}')


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Trains a vocabulary on all that the models will read and write.

  Raises:
    ValueError: a wrong config, or unfinished data.
  """
  run = runs.start(workdir, 'tokenizer', config, inputs={'data': config.data})
  if run.done:
    return
  env = env_load.load_many(config.domains, config.env)
  texts = list(corpus(config.data, env))
  vocab = vocab_lib.train(texts, config.vocab_size)
  vocab.save(run.folder / FILE)
  characters = sum(map(len, texts))
  tokens = sum(len(vocab.encode(text)) for text in texts)
  run.finish(size=vocab.size, characters=characters, tokens=tokens,
             characters_per_token=round(characters / tokens, 2))


def corpus(data: str, env: env_load.ManyEnvs) -> Iterator[str]:
  """Each piece of text by itself, just as `tokenizer.chat` encodes it."""
  for task, messages in episodes.read(data):
    yield env_lib.prompt_text(env, 'assistant', task)
    yield env_lib.prompt_text(env, 'user', task)
    for message in messages:
      if message.content:
        yield message.content
      for call in message.tool_calls:
        yield from _pieces(call)


def _pieces(call: types.ToolCall) -> Iterator[str]:
  yield call.name
  for name, value in call.arguments.items():
    yield name
    yield chat.write_value(value)
