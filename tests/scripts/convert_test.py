"""A model in another format is the same model."""

import dataclasses

import jax
import ml_collections
import numpy as np
import pytest

pytest.importorskip('safetensors')
pytest.importorskip('tokenizers')

from agentrl import files
from agentrl import sharding  # noqa: E402
from agentrl import testing  # noqa: E402
from agentrl import types  # noqa: E402
from agentrl.models import transformer  # noqa: E402
from agentrl.models import weights  # noqa: E402
from agentrl.stage import bundles  # noqa: E402
from agentrl.stage import inputs
from agentrl.stage import runs  # noqa: E402
from agentrl.tokenizer import formats  # noqa: E402
from scripts import convert  # noqa: E402

CONFIG = testing.tiny_model(num_kv_heads=2, param_dtype='bfloat16')
M = types.Message
TOOLS = ({'type': 'function', 'function': {'name': 'f', 'description': '<é>'}},)
CALL = types.ToolCall('f', {'a': [1, 'é']})
TALK = [M('system', 'Be good.'), M('user', 'hi \n'),
        M('assistant', 'So.', (CALL, CALL)), M('tool', 'one'), M('tool', ''),
        M('assistant', None, (CALL,)), M('tool', '{}'), M('assistant', 'ok'),
        M('user', 'bye')]


@pytest.fixture(scope='module')
def stage(tmp_path_factory):
  """A stage that has trained a model of ChatML."""
  run = runs.start(tmp_path_factory.mktemp('stage') / 'sft', 'sft',
                   ml_collections.ConfigDict())
  run.finish(bundles.save(
      run.folder, CONFIG, testing.chatml_vocab(),
      transformer.init(CONFIG, jax.random.key(0))))
  return run.folder


def load(source):
  mesh = sharding.make_mesh(dict.fromkeys(sharding.AXES, 1))
  return bundles.read(source, mesh, 'agent', dict(param_dtype='bfloat16'))


def test_there_and_back(stage, tmp_path, capsys):
  convert.convert(str(stage), tmp_path / 'hf', 'safetensors')
  convert.convert(str(tmp_path / 'hf'), tmp_path / 'orbax', 'orbax')
  assert 'parameters (bfloat16), 265 ids' in capsys.readouterr().out
  first = load(stage)
  for copy in (load(tmp_path / 'hf'), load(tmp_path / 'orbax')):
    assert copy.model == first.model
    assert copy.vocab.digest == first.vocab.digest
    jax.tree.map(np.testing.assert_array_equal, copy.params, first.params)
  assert inputs.manifest(tmp_path / 'orbax')['stage'] == 'convert'
  with pytest.raises(ValueError, match='exists: delete it'):
    convert.convert(str(stage), tmp_path / 'hf', 'orbax')


def test_what_no_library_knows_is_refused_before_it_is_read(
    tmp_path, monkeypatch):
  monkeypatch.setattr(bundles, 'load', None)
  for folder, config, vocab, words in (
      ('a', dataclasses.replace(CONFIG, smear=2), testing.chatml_vocab(),
       'not written for other libraries'),
      ('b', CONFIG, None, 'no tokenizer of transformers knows')):
    run = runs.start(tmp_path / folder, 'sft', ml_collections.ConfigDict())
    run.finish({'params': 'x'})
    files.write_json(run.folder / 'model.json', dataclasses.asdict(config))
    monkeypatch.setattr(
        bundles.vocab_lib, 'load',
        lambda path, vocab=vocab: vocab or testing.ByteVocab())
    with pytest.raises(ValueError, match=words):
      convert.convert(str(run.folder), tmp_path / 'out', 'safetensors')
  assert not (tmp_path / 'out').exists()


def test_what_the_source_says_of_itself_is_kept(tmp_path):
  config = dataclasses.replace(CONFIG, param_dtype='float32')
  weights.write(tmp_path / 'x', config, transformer.init(
      config, jax.random.key(0)), fields=dict(eos_token_id=[1, 0]))
  testing.chatml_vocab().save(tmp_path / 'x/tokenizer.json')
  files.write_json(tmp_path / 'x/tokenizer_config.json', {'mine': True})
  convert.convert(str(tmp_path / 'x'), tmp_path / 'y', 'safetensors',
                  dtype='bfloat16')
  read = lambda name: files.read_json(tmp_path / 'y' / name)
  assert read('config.json')['eos_token_id'] == [1, 0]
  assert read('config.json')['torch_dtype'] == 'bfloat16'
  assert read('generation_config.json')['eos_token_id'] == [1, 0]
  assert read('tokenizer_config.json') == {'mine': True}


def test_transformers_reads_it_with_equal_logits(stage, tmp_path):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  convert.convert(str(stage), tmp_path / 'hf', 'safetensors', dtype='float32')
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'hf')
  tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / 'hf')
  bundle = load(tmp_path / 'hf')
  ids, _ = formats.render_all(
      bundle.vocab, [dataclasses.replace(TALK[0], tools=TOOLS), *TALK[1:]])
  ids += formats.opener(bundle.vocab, TALK[-1])
  shown = [dict(role=m.role, content=m.content, **({'tool_calls': [
      {'type': 'function', 'function': dict(
          name=c.name, arguments=dict(c.arguments))} for c in m.tool_calls]}
      if m.tool_calls else {})) for m in TALK]
  assert ids == tokenizer.apply_chat_template(
      shown, tools=list(TOOLS), add_generation_prompt=True,
      return_dict=False)
  assert tokenizer.eos_token_id == theirs.generation_config.eos_token_id == 1
  model = dataclasses.replace(CONFIG, param_dtype='float32')
  params = jax.tree.map(lambda x: x.astype('float32'), bundle.params)
  at = np.arange(len(ids))[None]
  hidden_BTD, _ = transformer.hidden(model, params, np.array([ids]), at)
  with torch.no_grad():
    logits = theirs(torch.tensor([ids])).logits.numpy()
  np.testing.assert_allclose(
      transformer.logits(model, params, hidden_BTD), logits, atol=1e-4)
