"""Supervised fine-tuning of the agent or of the user model: one loop."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import time

import jax
import ml_collections
import numpy as np
import tqdm

from agentrl import checkpoint
from agentrl import metrics
from agentrl import sharding
from agentrl import types
from agentrl.data import batches
from agentrl.data import episodes
from agentrl.data import pack
from agentrl.data import vocabulary
from agentrl.envs import dialogue
from agentrl.envs import load as env_load
from agentrl.models import config as model_config
from agentrl.models import kernels
from agentrl.models import transformer
from agentrl.sft import likelihood
from agentrl.stage import bundles
from agentrl.stage import runs
from agentrl.tokenizer import formats
from agentrl.train import loop
from agentrl.train import optimizer
from agentrl.train import tuning


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Fine-tunes one side of the dialogues; see configs/sft/builtin.py.

  A run that was stopped goes on from its last checkpoint as if nothing had
  been.

  Raises:
    ValueError: a wrong config, or inputs that do not fit it.
  """
  tuned = tuning.make(jax.random.key(config.seed), **config.lora)
  if config.lora.rank and not config.init_from:
    raise ValueError(f'config.lora.rank={config.lora.rank} adapts a trained '
                     'model: set config.init_from to its folder, or the rank '
                     'to 0.')
  inputs = {name: config[name] for name in ('data', 'tokenizer', 'init_from')
            if config[name] or name == 'data'}
  run = runs.start(workdir, f'{config.side}_sft', config, inputs)
  if run.done:
    return
  model, vocab = _model(config)
  formats.check_keeps(config.history_thinking, vocab)
  mesh = sharding.make_mesh(config.mesh)
  sharding.check(model, mesh)
  kernels.check_length(model.attention, config.length, 'config.length')
  rows = packed(config.data, vocab, env_load.load_many(
      config.domains, config.env), side=config.side, length=config.length,
                history_thinking=config.history_thinking)
  data = batches.iterator(rows, batch_size=config.batch_size, seed=config.seed)

  first, like, update = loop.make(
      functools.partial(transformer.init, model, jax.random.key(config.seed)),
      functools.partial(likelihood.next_token, model=model),
      optimizer.make(**config.optimizer), mesh=mesh,
      micro_rows=config.micro_rows, tuned=tuned)
  manager = checkpoint.Manager(run.folder / 'checkpoints')
  restored, params = manager.restore(like), None
  if config.init_from and (config.lora.rank or not restored):
    params = bundles.load(config.init_from, mesh, 'init_from',
                         dataclasses.asdict(model)).params
  frozen = tuned.frozen(params)
  done, state, position = restored or (0, first(params), None)
  if restored:
    data.set_state(position)

  writer = metrics.Writer(run.folder, done)
  bar = tqdm.tqdm(total=config.total_steps, initial=done, unit='step',
                  desc=f'SFT of the {config.side}')
  for step in range(done, config.total_steps):
    began = time.monotonic()
    state, values = update(state, next(data), frozen)
    values = loop.to_floats(values)
    seconds = time.monotonic() - began
    values['time/step_s'] = seconds
    values['time/tokens_per_s'] = config.batch_size * config.length / seconds
    writer.write(step, values)
    bar.update()
    bar.set_postfix_str(f'loss {values["train/loss"]:.3f} nats/token, '
                        f'{values["time/tokens_per_s"]:,.0f} tokens/s')
    if (step + 1) % config.save_every == 0:
      manager.save(step + 1, state, data.get_state())
  bar.close()
  manager.close()
  writer.close()
  if config.lora.rank:
    checkpoint.save_params(run.folder / 'adapters', state.params)
  run.finish(bundles.save(run.folder, model, vocab,
                         tuned.merge(state.params, frozen)),
             tokens_seen=config.total_steps * config.batch_size * config.length,
             rows=len(rows['ids_BT']))


def _model(config: ml_collections.ConfigDict
          ) -> tuple[model_config.ModelConfig, formats.Vocab]:
  """Shape and vocabulary: those of a model from scratch, or of `init_from`,
  whose vocabulary it is where `tokenizer` names none.

  Raises:
    ValueError: neither is named, or they do not fit together.
  """
  if not config.tokenizer and not config.init_from:
    raise ValueError(
        "config.tokenizer='' takes the vocabulary of config.init_from, but "
        "that is '' too: set the one to the folder of the tokenizer stage "
        f'({runs.MAKERS["tokenizer"]}), or the other to a trained model.')
  if not config.tokenizer:
    return bundles.describe(config.init_from, 'init_from', config.model)
  vocab = vocabulary.load(config.tokenizer)
  model = model_config.make(config.model, vocab_size=vocab.size)
  if config.init_from:
    start, own = bundles.describe(config.init_from, 'init_from')
    _check_start(start, own.digest, model, vocab.digest)
  return model, vocab


def _check_start(start: model_config.ModelConfig, own: str,
                 model: model_config.ModelConfig, vocab: str) -> None:
  """Raises ValueError unless training can go on from `start`, whose vocabulary
  has the digest `own`."""
  if own != vocab:
    raise ValueError(
        f'config.init_from was trained with vocabulary {own}, but '
        f'config.tokenizer holds {vocab}: the same ids would mean other words. '
        "Set config.tokenizer to '', which takes its own.")
  have, want = dataclasses.asdict(start), dataclasses.asdict(model)
  if off := {k: (v, want[k]) for k, v in have.items()
             if v != want[k] and k not in bundles.FREE[1:]}:
    raise ValueError(f'config.init_from is of another model (field: its value, '
                     f'config.model): {off}. Make them equal.')


def packed(data: str, vocab: formats.Vocab, env: env_load.ManyEnvs, *,
           side: types.Side, length: int,
           history_thinking: formats.Keeps = 'keep') -> dict[str, np.ndarray]:
  """The dialogues as one side sees them, tokenised and packed into rows.

  The targets are that side's thinking, words, calls and end marks, each once.
  The greeting is the environment's, so nobody is taught it. A dialogue is one
  sequence or, where its history loses what was thought, several: what the
  model has before it when it speaks. Those longer than a row are left out and
  counted on the screen.

  Returns:
    ids_BT, target_BT, positions_BT, segments_BT; see `data.pack.pack`.
  """
  items = []
  for task, messages in episodes.read(data):
    seen = dialogue.view(messages, side, env.prompt(side, task))
    items += [_item(vocab, *part)
              for part in sequences([m for _, m in seen], history_thinking)]
  fitting = [item for item in items if len(item['ids']) <= length]
  if len(fitting) < len(items):
    longest = max(len(item['ids']) for item in items)
    print(f'{len(items) - len(fitting)} of {len(items)} sequences are longer '
          f'than config.length={length} tokens (up to {longest}): left out.')
  return pack.pack(fitting, length=length)


def sequences(seen: Sequence[types.Message], keeps: formats.Keeps
              ) -> list[tuple[list[types.Message], int]]:
  """A dialogue as its model had it, whenever it spoke.

  Args:
    seen: the dialogue in the view of that side.
    keeps: see `formats.history`.

  Returns:
    (messages, first): where nothing was taken back since the turn before, a
    turn lengthens its sequence, else it begins one. What is before `first` in
    a sequence has been a target in an earlier one.
  """
  found = [([], 0)]
  for n, message in enumerate(seen):
    if message.role != 'assistant':
      continue
    past, first = found[-1]
    now = [*formats.history(seen[:n], keeps), message]
    if now[:len(past)] == past:
      found[-1] = now, first
    else:
      found.append((now, n))
  found[-1][0].extend(seen[len(found[-1][0]):])
  return found


def _item(vocab: formats.Vocab, seen: Sequence[types.Message],
          first: int) -> dict[str, np.ndarray]:
  ids, authors = formats.render_all(vocab, seen)
  target_T = np.array(authors) == types.Author.SELF
  if dialogue.GREETING in seen[:2]:
    first = max(first, 2)
  target_T[:len(formats.render_all(vocab, seen[:first])[0])] = False
  return {'ids': np.array(ids, np.int32), 'target': target_T}
