"""Flags secrets and personal data in samples.

Text that looks like a key, a password, a card, an e-mail address or a phone
number is flagged, unless the domain's own database contains it: its people are
fiction.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
import functools
import json
import re
from typing import Any

from agentrl import jsons
from agentrl import types
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata import source
from agentrl.eigendata.check import texts as texts_lib

PATTERNS = {
    'private key': r'-----BEGIN [A-Z ]*PRIVATE KEY-----',
    'key or token': (
        r'\b(?:sk-[\w-]{20,}|gh[pousr]_\w{36,}|github_pat_\w{40,}'
        r'|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|hf_[A-Za-z]{30,}'
        r'|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}'
        r'|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})'),
    'password': r'(?i)\b(?:password|passwd|api[_ -]?key|secret)'
                r'(?:\s+is\s+|\s*[:=]\s*)["\']?(?=\S*\d)\S{8,}',
    'e-mail': r'\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b',
    'card': r'(?<![\w.-])[3-6](?:\d{12,18}|\d{3}(?:[ -]\d{4}){3}'
            r'|\d{3}[ -]\d{6}[ -]\d{5})(?![\w-])',
    'phone': r'(?<![\w.-])(?:\+\d{1,3}[ .-]?)?'
             r'(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])'
             r'|(?<!\w)\+\d{8,15}\b'}


def flag_personal(samples: Iterable[sample_lib.Sample],
                  envs: Mapping[str, source.WritableEnv], *, drop: bool
                  ) -> tuple[list[sample_lib.Sample], dict[str, Any]]:
  """Counts samples with secrets or personal data, and rejects them if asked to.

  Args:
    samples: kept and rejected samples; rejected ones pass.
    envs: name -> environment of each domain.
    drop: whether flagged samples are rejected.

  Returns:
    the samples; and, for the manifest, the number of flagged samples of each
    kind, with an example of each that does not show it in full.
  """
  passed, counts, examples = [], collections.Counter(), {}
  for sample in samples:
    flags = find(envs[sample.task.domain], sample) if sample.task else []
    for kind, start in flags:
      examples.setdefault(kind, f'{sample.task.id}: {start}')
    counts.update({kind for kind, _ in flags})
    if flags and drop:
      kind, start = flags[0]
      sample = sample_lib.Sample(usage=sample.usage, rejection=types.Rejection(
          types.Worker.PERSONAL, kind, f'{sample.task.id}: {start}'))
    passed.append(sample)
  return passed, {'counts': dict(counts), 'examples': examples}


def find(env: source.WritableEnv, sample: sample_lib.Sample
         ) -> list[tuple[str, str]]:
  """Returns (kind, first characters) of each match outside the database."""
  task = sample.task
  texts = [task.scenario, *texts_lib.of_task(task, sample.messages),
           *(m.content or '' for m in sample.messages if m.role == 'tool')]
  unique = dict.fromkeys(matches(texts))
  if not unique:
    return []
  start = jsons.dumps(task.initial_state)
  known = _fiction(env, task.domain, start, task.database)
  return [(kind, f'{match[:4]}..') for kind, match in unique
          if not any(_plain(match) in text for text in known)]


def matches(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
  """Yields (kind, match) of all text like a secret or personal data."""
  for text in texts:
    for kind, pattern in PATTERNS.items():
      for match in re.finditer(pattern, text):
        if kind != 'card' or luhn(match[0]):
          yield kind, match[0]


def luhn(number: str) -> bool:
  """Returns whether a card number has the right check digit.

  Source: ISO/IEC 7812-1, annex B.
  """
  digits = [int(c) for c in reversed(number) if c.isdigit()]
  doubled = [sum(divmod(2 * d, 10)) for d in digits[1::2]]
  return (sum(digits[::2]) + sum(doubled)) % 10 == 0


@functools.lru_cache(maxsize=64)
def _fiction(env: source.WritableEnv, domain: str, start: str, database: str
             ) -> frozenset[str]:
  """Returns the database of an initial state as plain texts."""
  task = types.Task('its database', domain, '',
                    initial_state=json.loads(start), database=database)
  return frozenset(map(_plain, env.database_texts(task)))


def _plain(text: str) -> str:
  """Returns lower case, and digits without the signs between them."""
  return re.sub(r'[ .()+-]+(?=\d)|(?<=\d)[ .()-]+', '', text.lower())
