"""A terminal shows the words of a model; its cache is kept between turns."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip('safetensors')
pytest.importorskip('tokenizers')

from agentrl import testing  # noqa: E402
from agentrl import types  # noqa: E402
from agentrl.models import transformer  # noqa: E402
from agentrl.models import weights  # noqa: E402
from agentrl.rollout import device  # noqa: E402
from agentrl.tokenizer import formats  # noqa: E402

ROOT = pathlib.Path(__file__).parent.parent.parent
CONFIG = testing.tiny_model()
VOCAB = testing.chatml_vocab()
MAX_NEW, LENGTH = 24, 224
M = types.Message


def talkative():
  """Weights that say letters which depend on the letters before them."""
  params = testing.chatty_params(CONFIG)
  words = VOCAB.encode('abcdefghijklmnopqrstuvwxyz ')
  bias_V = jnp.full(CONFIG.vocab_size, -9.0).at[jnp.array(words)].set(0.0)
  head_VD = params['head'].at[:, 0].set(bias_V.at[VOCAB.end].set(-1.5))
  louder = lambda path, x: 2 * x if 'layers' in str(path[0]) else x
  return jax.tree_util.tree_map_with_path(
      louder, {**params, 'head': head_VD})


PARAMS = talkative()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('hf') / 'model'
  weights.write(path, CONFIG, PARAMS)
  VOCAB.save(path / 'tokenizer.json')
  return str(path)


def chat(weights_, *lines, **flags):
  """Runs the script on typed lines."""
  return subprocess.run(
      [sys.executable, 'scripts/chat.py', f'--weights={weights_}',
       *(f'--{name}={value}' for name, value in flags.items())],
      cwd=ROOT, capture_output=True, timeout=120, check=False, text=True,
      input=''.join(f'{line}\n' for line in lines))


@jax.jit
def sampled(ids_T, count):
  """The id after the first `count`, all of them read anew, by seed 0."""
  positions = jnp.arange(LENGTH)[None]
  hidden_BTD, _ = transformer.hidden(
      CONFIG, PARAMS, ids_T[None], positions, jnp.ones_like(positions))
  logits_BTV = transformer.logits(CONFIG, PARAMS, hidden_BTD)
  key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), count)
  return device.sample(logits_BTV[:, count - 1], key[None], temperature=1.0,
                       pad_id=VOCAB.pad)[0][0]


CUT = '(Cut off: see --max_new.)'


def answer(ids):
  """Returns the shown text and all ids of a turn without a cache."""
  said = []
  while len(said) < MAX_NEW and VOCAB.end not in said:
    ids_T = np.zeros(LENGTH, np.int32)
    ids_T[:len(ids) + len(said)] = [*ids, *said]
    said.append(int(sampled(ids_T, len(ids) + len(said))))
  if said[-1] == VOCAB.end:
    return [VOCAB.decode(said[:-1])], [*ids, *said]
  return [VOCAB.decode(said), CUT], [*ids, *said, VOCAB.end]


def expected(system, lines):
  """The screen, line by line."""
  shown, ids, after = [], [], None
  for line in lines:
    shown.append(f'> {line}')
    if line == '/new':
      ids, after = [], None
      continue
    new = [M('user', line)]
    if after is None and system is not None:
      new.insert(0, M('system', system))
    more = []
    for before, message in zip([after, *new], new):
      more += formats.render(VOCAB, message, before)[0]
    more += formats.opener(VOCAB, new[-1])
    if len(more) >= LENGTH - len(ids):
      shown.append(f'(No room for {len(more)} tokens more: /new starts over.)')
      continue
    text, ids = answer(ids + more)
    shown += text
    after = M('assistant')
  return shown


def test_turns_are_those_of_the_whole_dialogue_read_at_once(folder):
  lines = ['Hello?', 'And then?', 'ok', 'x' * 90, '/new', 'Hello?', 'é ✨']
  process = chat(folder, *lines, '/quit', 'never', system='Be good.',
               max_new=MAX_NEW, length=LENGTH, temperature=1.0)
  assert process.returncode == 0, process.stderr
  head, rest = process.stdout.split('\n', 1)
  assert head.startswith(f'{folder}: ') and 'parameters (float32)' in head
  want = expected('Be good.', lines)
  assert 0 < want.count(CUT) < 4 and len(set(want)) > 7
  assert 'No room for 1' in ''.join(want)
  assert rest == '\n'.join([*want, '> /quit', ''])


@pytest.mark.parametrize('source, words', [
    ('{}/none', 'Published weights are a .gguf file'), ('{}/x.gguf', 'x.gguf')])
def test_bad_weights_end_in_one_line(tmp_path, source, words):
  process = chat(source.format(tmp_path), 'hi')
  assert process.returncode == 1 and process.stdout == ''
  reading, error = process.stderr.strip().split('\n')
  assert reading.startswith('Reading ') and error.startswith('Error: ')
  assert words in error and 'config.weights' not in error
