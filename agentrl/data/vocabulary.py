"""The tokenizer stage: a vocabulary trained on the dialogues of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import os
from typing import Any

import ml_collections

from agentrl import types
from agentrl.data import episodes
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.stage import fields
from agentrl.stage import inputs
from agentrl.stage import runs
from agentrl.tokenizer import chat
from agentrl.tokenizer import vocab as vocab_lib

FILE = 'vocab.model'


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of the config; configs/tokenizer/builtin.py explains them."""

  domains: tuple[str, ...]
  env: Mapping[str, Any]
  data: str
  vocab_size: int


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return fields.read(Config, config, name=name)


def load(source: inputs.Input) -> vocab_lib.Vocab:
  """Reads the vocabulary of a finished tokenizer stage.

  Raises:
    ValueError: the stage is of another kind.
  """
  return vocab_lib.load(source.path / FILE)


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Trains a vocabulary on all texts that the models will read and write.

  Raises:
    ValueError: a wrong config, or unfinished data.
  """
  config = read_config(config)
  run = runs.start(workdir, 'tokenizer', config, inputs={'data': config.data})
  if run.done:
    return
  env = env_load.load_many(config.domains, config.env)
  texts = list(corpus(run.inputs['data'], env))
  vocab = vocab_lib.train(texts, config.vocab_size)
  vocab.save(run.folder / FILE)
  characters = sum(map(len, texts))
  tokens = sum(len(vocab.encode(text)) for text in texts)
  run.finish(size=vocab.size, characters=characters, tokens=tokens,
             characters_per_token=round(characters / tokens, 2))


def corpus(data: str | os.PathLike | inputs.Input, env: env_load.ManyEnvs
          ) -> Iterator[str]:
  """Yields each piece of text by itself, as `tokenizer.chat` encodes it."""
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
