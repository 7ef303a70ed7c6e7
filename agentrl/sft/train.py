"""Supervised fine-tuning of the agent or of the user model: one loop."""

from __future__ import annotations

import functools
from typing import Any

import jax
import ml_collections
import numpy as np
import tqdm

from agentrl import checkpoint
from agentrl import metrics
from agentrl import resolve
from agentrl import runs
from agentrl import sharding
from agentrl.data import batches
from agentrl.data import episodes
from agentrl.data import pack
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.sft import loss as sft_loss
from agentrl.tokenizer import chat
from agentrl.tokenizer import vocab as vocab_lib
from agentrl.train import optimizer
from agentrl.train import update as update_lib
from agentrl import types


def examples(data: str, vocab: vocab_lib.Vocab, env: env_lib.Many,
             side: types.Side) -> list[dict[str, np.ndarray]]:
  """Every training dialogue as one side sees it: ids and target mask.

  The targets are that side's words, calls and end marks; the greeting is the
  environment's, so the agent is not taught it.
  """
  found = []
  for task, messages in episodes.read(data):
    seen = dialogue.view(messages, side, env.system(side, task))
    ids, authors = chat.render_all(vocab, [m for _, m in seen])
    own_T = np.array(authors) == types.Author.SELF
    if side == 'assistant' and messages[0] == dialogue.GREETING:
      start, _ = chat.render_all(vocab, [m for _, m in seen[:2]])
      own_T[:len(start)] = False
    found.append({'ids': np.array(ids, np.int32), 'target': own_T})
  return found
