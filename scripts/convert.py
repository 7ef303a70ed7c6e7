"""Writes a model in another format.

  python scripts/convert.py --source=smollm2 --target=models/smollm2 \
    --format=orbax
  python scripts/convert.py --source=runs/mine/grpo --target=out \
    --format=safetensors

The source is a folder of safetensors, a .gguf file, `smollm2`, or a stage that
trained a model. `orbax` makes a folder that init_from, agent and user of a
config take; `safetensors` one that transformers loads, tokenizer and chat
template included. Needs the extra `hf`.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
import shutil
import sys
from typing import Any

from absl import app
from absl import flags
from absl import logging
import jax
import ml_collections

from agentrl import files
from agentrl import resolve
from agentrl import sharding
from agentrl.models import config as model_config
from agentrl.models import families
from agentrl.models import weights
from agentrl.stage import bundles
from agentrl.stage import inputs
from agentrl.stage import runs
from agentrl.tokenizer import formats
from agentrl.tokenizer import hf
from agentrl.tokenizer import spm

SOURCE = flags.DEFINE_string('source', None, 'Model to convert.', required=True)
TARGET = flags.DEFINE_string('target', None, 'A new folder.', required=True)
FORMAT = flags.DEFINE_enum('format', None, ('orbax', 'safetensors'),
                           'Format of the target.', required=True)
DTYPE = flags.DEFINE_enum(
    'dtype', None, model_config.DTYPES,
    'Dtype of the parameters; by default that of the source.')
FSDP = flags.DEFINE_integer(
    'fsdp', 1, 'Devices that share the parameters.', lower_bound=1)

# Copied from a source that has them.
_ABOUT = ('tokenizer_config.json', 'special_tokens_map.json',
          'added_tokens.json', 'chat_template.jinja', 'generation_config.json')
# Class of a vocabulary -> its file, and the class of transformers for it.
_TOKENIZERS = {hf.BpeVocab: ('tokenizer.json', 'PreTrainedTokenizerFast'),
               spm.GemmaVocab: ('tokenizer.model', 'GemmaTokenizer')}
_TOKENS = ('bos_token_id', 'eos_token_id', 'pad_token_id')


def convert(source: str, target: pathlib.Path, kind: str, *,
            dtype: str | None = None, fsdp: int = 1) -> None:
  """Reads `source` and writes `target`, whole or not at all.

  Raises:
    ValueError: the target exists, or the source cannot be read or written so.
  """
  if target.exists():
    raise ValueError(f'{target} exists: delete it, or choose another.')
  resolved = inputs.resolve(source, '--source')
  dtype = dtype or _dtype(resolved)
  described = bundles.describe(
      resolved, {'param_dtype': dtype} if dtype else {})
  model, vocab = described.model, described.vocab
  if kind == 'safetensors':
    families.to_hf(model)
    if type(vocab) not in _TOKENIZERS:
      raise ValueError(f'The vocabulary of --source={source} is of our own '
                       'markup, which no tokenizer of transformers knows: only '
                       '--format=orbax can hold it.')
  mesh = sharding.make_mesh(
      dict.fromkeys(sharding.AXES, 1) | {'fsdp': fsdp}, field='--fsdp: axes')
  bundle = bundles.load(described, mesh)
  temporary = target.with_name(target.name + '.tmp')
  shutil.rmtree(temporary, ignore_errors=True)
  write = {'orbax': _orbax, 'safetensors': _safetensors}[kind]
  write(temporary, bundle, resolved)
  temporary.rename(target)
  written = [p for p in target.rglob('*') if p.is_file()]
  count = sum(x.size for x in jax.tree.leaves(bundle.params))
  print(f'{target}: {count:,} parameters ({bundle.model.param_dtype}), '
        f'{vocab.size:,} ids, {sum(p.stat().st_size for p in written):,} bytes '
        f'in {len(written)} files.')


def _dtype(source: inputs.Input) -> str | None:
  """Returns the dtype of a folder of published parameters, None if unknown."""
  if source.path.is_file() or source.manifest is not None:
    return None
  fields = files.read_json(source.path / 'config.json')
  dtype = fields.get('dtype') or fields.get('torch_dtype')
  return dtype if dtype in model_config.DTYPES else None


def _orbax(folder: pathlib.Path, bundle: bundles.Bundle,
           source: inputs.Input) -> None:
  """Writes the folder of a stage, like those that train."""
  config = ml_collections.ConfigDict(dict(source=str(source.path)))
  run = runs.start(folder, 'convert', config, {'source': source})
  run.finish(bundles.save(folder, bundle.model, bundle.vocab, bundle.params))


def _safetensors(folder: pathlib.Path, bundle: bundles.Bundle,
                 source: inputs.Input) -> None:
  """Writes the folder of a model that `transformers` loads."""
  vocab = bundle.vocab
  published = source.path if source.manifest is None else None
  own = {'eos_token_id': vocab.end, 'pad_token_id': vocab.pad}
  if spm.BOS in vocab.marks:
    own['bos_token_id'] = vocab.marks[spm.BOS]
  tokens = dict(own)
  if published and published.is_dir():
    about = files.read_json(published / 'config.json')
    tokens |= {k: about[k] for k in _TOKENS if about.get(k) is not None}
  weights.write(folder, bundle.model, bundle.params, fields=tokens)
  file, kind = _TOKENIZERS[type(vocab)]
  vocab.save(folder / file)
  files.write_json(folder / 'generation_config.json', tokens)
  files.write_json(folder / 'tokenizer_config.json', {
      'tokenizer_class': kind, 'mask_token': None,
      **{name.removesuffix('_id'): vocab.piece(i)
         for name, i in own.items()},
      'clean_up_tokenization_spaces': False,
      'model_max_length': bundle.model.max_length,
      **_template(source.path, vocab)})
  for name in _ABOUT:
    if source.path.is_dir() and (source.path / name).exists():
      shutil.copy(source.path / name, folder / name)


def _template(source: pathlib.Path, vocab: hf.BpeVocab) -> dict[str, Any]:
  """Returns the chat template of the source, else of the vocabulary."""
  template = formats.template(vocab)
  if source.suffix == '.gguf':
    field = resolve.extra('gguf', 'hf').GGUFReader(source).fields.get(
        'tokenizer.chat_template')
    template = field.contents() if field else template
  return {'chat_template': template} if template else {}


def main(argv: Sequence[str]) -> None:
  if argv[1:]:
    sys.exit(f'Unexpected arguments {argv[1:]}: give --source and --target.')
  logging.set_verbosity(logging.WARNING)
  try:
    convert(SOURCE.value, pathlib.Path(TARGET.value), FORMAT.value,
            dtype=DTYPE.value, fsdp=FSDP.value)
  except (ValueError, OSError) as e:
    sys.exit(f'Error: {e}')


if __name__ == '__main__':
  app.run(main)
