"""An offline stand-in for an LLM, so that the data engine runs without one.

It is no model but a grammar. It reads the JSON on the last line of the system
prompt (`eigendata/prompts.py` writes it) and answers by one pure function for
each role. A real LLM would have to invent an intent, a checker or the next
words by itself; this one is given a domain's own drafts and only words them, in
varied language. It gets them wrong at a set rate, in the ways that LLMs do, so
that validation has real work to do.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
import functools
import itertools
import json
import random
import re
from typing import Any

from agentrl import jsons
from agentrl import resolve
from agentrl import types
from agentrl.llm import llm
from agentrl.llm.stand_in import actor
from agentrl.llm.stand_in import mistakes as mistakes_lib

Payload = Mapping[str, Any]
Value = dict[str, Any]


class Procedural:
  """`llm.LLM` by rules.

  Args:
    mistakes: role (intent, user, agent, checker, judge, engineer) -> share of
      its answers, or for user and agent of its dialogues, with a mistake.
    obeys_prompts: whether instructions prevent mistakes, or bring more; see
      `mistakes.py`, a simulation.

  Raises:
    ValueError: a rate is missing, is of no role, or is not within 0 .. 1.
  """

  def __init__(self, mistakes: Mapping[str, float],
               obeys_prompts: bool = False):
    self._rates, self._obeys_prompts = dict(mistakes), obeys_prompts
    if unknown := sorted(set(mistakes) - set(MISTAKEN)):
      raise ValueError(f'mistakes has no role {unknown[0]!r}.'
                       + resolve.hint(unknown[0], MISTAKEN))
    for role in MISTAKEN:
      if not 0 <= self._rates.get(role, -1) <= 1:
        raise ValueError(f'mistakes.{role} must be within 0 .. 1, got '
                         f'{mistakes.get(role)!r}.')

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (),
               seed: int) -> llm.Answer:
    del tools  # the script has the calls
    text = [m.content for m in messages if m.role == 'system'][-1]
    instructions, payload = _parts(text)
    role = payload['role']
    rng = random.Random(f'{role}/{seed}')
    rate, prevented = self._rates.get(role, 0.0), frozenset()
    if self._obeys_prompts:
      rate += mistakes_lib.harm(instructions)
      prevented = mistakes_lib.prevented(instructions, role)
    draw = mistakes_lib.MistakeDraw(rng.random() < rate, prevented)
    if schema is None:
      message = actor.act(payload, messages, llm.SIDES[role], seed, draw)
      value, written = None, jsons.dumps(message)
    else:
      value = ROLES[role](payload, rng, draw)
      written = json.dumps(value, ensure_ascii=False)
      message = types.Message('assistant', written)
    return llm.Answer(message, value, llm.Usage(
        _words(messages), len(written.split()), 1))


@functools.lru_cache(maxsize=64)
def _parts(system: str) -> tuple[str, Payload]:
  instructions, _, line = system.rpartition('\n')
  try:
    return instructions, json.loads(line)
  except ValueError:
    raise ValueError(
        'The stand-in reads the JSON on the last line of a prompt, got '
        f'{line[:80]!r}: take brief=True out of its llm_roles. It cannot be a '
        'student either: name a model in llm_roles.Student.llm.') from None


def _words(messages: Sequence[types.Message]) -> int:
  """Counts words, in place of the tokens of a model."""
  return sum(len((m.content or '').split()) for m in messages)


def _intent(payload: Payload, rng: random.Random,
            draw: mistakes_lib.MistakeDraw) -> Value:
  """Returns the drafts of a domain as one scenario."""
  demands = [{'draft': i, 'goal': d['goal']}
             for i, d in enumerate(payload['drafts'])]
  about = [d['about'] for d in payload['drafts']]
  if draw.due:
    _spoil(demands, about, payload['others'], rng, draw)
  goals = ' '.join(f'{i}. {d["goal"]}' for i, d in enumerate(demands, 1))
  return {'scenario': f'{payload["knowledge"]} {payload["style"]} {goals}',
          'demands': demands}


def _spoil(demands: list[Value], about: Sequence[Sequence[str]],
           others: Sequence[str], rng: random.Random,
           draw: mistakes_lib.MistakeDraw) -> None:
  """Puts in a wrong entity, no detail, or a demand that is taken back."""
  details = [(d, word) for d, words in zip(demands, about) for word in words
             if word in d['goal']]
  if details and rng.random() < 0.7:
    demand, word = rng.choice(details)
    instead = rng.choice(('it', rng.choice(others)))
    if draw.makes('vague'):
      demand['goal'] = demand['goal'].replace(word, instead)
  elif draw.makes('contradiction'):
    demand = rng.choice(demands)
    demands.append({**demand, 'goal': f'Do not do this: {demand["goal"]}'})


def _checker(payload: Payload, rng: random.Random,
             draw: mistakes_lib.MistakeDraw) -> Value:
  """Returns a checker from the conditions that the gold run meets."""
  clauses = [(f'{path} is {value}', f'changes.get({path!r}) == {value!r}')
             for path, value in payload['changes'].items()]
  clauses.append((f'{mistakes_lib.NOTHING_ELSE} is changed',
                  f'sorted(changes) == {sorted(payload["changes"])!r}'))
  clauses += [(f'{mistakes_lib.TOLD} {fact}', f'said(events, {fact.lower()!r})')
              for fact in payload['tell']]
  clauses += [(f'{first} {mistakes_lib.BEFORE} {then}',
               f'before(events, {first!r}, {then!r})')
              for first, then in payload['before']]
  clauses += [(f'{name} of {about} {mistakes_lib.AGREED}',
               f'confirmed(events, {name!r}, {about!r})')
              for name, about in payload['confirmed']]
  clauses += [(f'{name} {mistakes_lib.DONE} {n}x',
               f"[e[0] == 'call' and e[2] == {name!r} and e[4] "
               f'for e in events].count(True) == {n}')
              for name, n in payload['times'].items()]
  if draw.due:
    flaw = rng.choice((_omitted, _wrong_value, _too_strict))
    if draw.makes(flaw.__name__[1:]):
      flaw(clauses, payload, rng)
  lines = ''.join(f'      {label!r}:\n          {test},\n'
                  for label, test in clauses)
  return {'code': f'def check(changes, events):\n  return {{\n{lines}  }}\n'}


Clauses = list[tuple[str, str]]


def _omitted(clauses: Clauses, payload: Payload, rng: random.Random) -> None:
  del payload
  clauses.pop(rng.randrange(len(clauses)))


def _wrong_value(clauses: Clauses, payload: Payload,
                 rng: random.Random) -> None:
  del payload
  i = rng.randrange(len(clauses))
  label, test = clauses[i]
  clauses[i] = label, re.sub(r"(\w)('?\)?\]?)$", r'\1x\2', test)


def _too_strict(clauses: Clauses, payload: Payload,
                rng: random.Random) -> None:
  words = rng.choice(payload['words'])
  clauses.append((f'said: {words}', f'said(events, {words.lower()!r})'))


def _judge(payload: Payload, rng: random.Random,
           draw: mistakes_lib.MistakeDraw) -> Value:
  """Judges a dialogue without executing anything."""
  del rng
  done, told, faults = [], '', []
  grounds = _facts(payload['policy'], payload)
  for event in payload['transcript']:
    match event:
      case ['call', *call]:
        done.append(call)
      case ['result', side, text, ok]:
        if side == 'assistant':
          grounds |= _facts(text, payload)
        if side == 'assistant' and not ok:
          faults.append(f'{done[-1][1]} {mistakes_lib.REFUSED}')
      case ['user', text]:
        grounds |= _facts(text, payload)
      case ['assistant', text]:
        told += text.lower()
        faults += [f'{fact} {mistakes_lib.MADE_UP}'
                  for fact in sorted(_facts(text, payload) - grounds)]
  faults += [f'{call[1]} {mistakes_lib.MISSING}' for call in payload['writes']
            if call not in done]
  faults += [f'{fact!r} {mistakes_lib.UNTOLD}' for fact in payload['tell']
            if fact.lower() not in told]
  if draw.due:
    faults = [] if faults else ['the wording is off']
  failed = [c for c, ok in payload['clauses'].items() if not ok]
  fault = 'trajectory' if faults else 'task' if failed else 'none'
  return {'success': not faults, 'fault': fault,
          'critique': '; '.join(faults or failed)}


def _facts(text: str, payload: Payload) -> set[str]:
  """Returns numbers and names of entities in a text."""
  return set(re.findall(rf'\b\d+\b|{payload["entity"]}', text))


def _planner(payload: Payload, rng: random.Random,
             draw: mistakes_lib.MistakeDraw) -> Value:
  """Plans the (domain, demands, style) least like those planned before."""
  del rng, draw
  taken = [(p['domain'], p['demands'], p['style']) for p in payload['earlier']]
  cells = [c for c in itertools.product(
      payload['domains'], payload['demands'], payload['styles'])
           if c not in taken and c[1] <= len(payload['domains'][c[0]])]
  if not cells:
    return {'plan': None}
  domain, demands, style = max(cells, key=lambda c: min(
      (sum(a != b for a, b in zip(c, t)) for t in taken), default=0))
  return {'plan': {
      'domain': domain, 'demands': demands, 'style': style,
      'families': payload['domains'][domain], 'rubric': RUBRIC,
      'failures': FAILURES}}


def _goal(payload: Payload, rng: random.Random,
          draw: mistakes_lib.MistakeDraw) -> Value:
  """Refuses: inventing a demand, or reviewing one, takes a real LLM."""
  del payload, rng, draw
  raise ValueError(
      'A domain without drafts (no tasks.py, or tau2:<name>) needs an LLM that '
      'invents demands, and the stand-in cannot: set config.llm, see '
      'configs/eigendata/openai.py.')


RUBRIC = [
    'Every demand was met, or refused or handed over for the true reason.',
    'Every call has the right arguments; none is needless.',
    'Each change was named to the user and agreed to before it was made.',
    'All that the user was told is true.']
FAILURES = [
    'wrong argument', 'skipped confirmation', 'forgotten demand',
    'doubled write', 'wrong fact', 'premature refusal', 'user forgot a demand',
    'user made something up', 'user left early']


def _critic(payload: Payload, rng: random.Random,
            draw: mistakes_lib.MistakeDraw) -> Value:
  """Blames roles by the rejections of samples; the most frequent first."""
  del rng, draw
  counts: collections.Counter[str] = collections.Counter()
  evidence, kinds = (collections.defaultdict(list) for _ in range(2))
  for e in payload['examples']:
    role = mistakes_lib.role_of(e['worker'], e['reason'])
    counts[role] += payload['rejected'][f'{e["worker"]}: {e["reason"]}']
    evidence[role].append(f'{e["reason"]}: {e["detail"]}')
    kinds[role] += [e['reason'], *e['problems']]
  return {'critiques': [
      {'role': role, 'problem': f'{count} samples speak against it',
       'evidence': '; '.join(evidence[role]),
       'kinds': sorted(set(kinds[role])), 'advice': 'Rule this out in words.'}
      for role, count in counts.most_common()]}


MOST_REMEDIES = 3  # that a revision adds


def _engineer(payload: Payload, rng: random.Random,
              draw: mistakes_lib.MistakeDraw) -> Value:
  """Adds the remedies that the evidence speaks for, or advice that harms."""
  role, text = payload['prompted'], payload['text']
  evidence = ' '.join(c['evidence'] for c in payload['critiques'])
  kinds = {kind for c in payload['critiques'] for kind in c.get('kinds', ())}
  bad = [advice for advice in mistakes_lib.HARMFUL
         if f'{text}\n{advice}' not in payload['tried']]
  if draw.due and bad:
    return {'text': f'{text}\n{rng.choice(bad)}', 'failures': []}
  remedies = mistakes_lib.remedies(role, kinds, evidence,
                                   mistakes_lib.prevented(text, role))
  rng.shuffle(remedies)
  return {'text': '\n'.join([text, *remedies[:MOST_REMEDIES]]), 'failures': []}


# Roles that play no side (`llm.SIDES`) answer in JSON.
ROLES: dict[str, Callable[[
    Payload, random.Random, mistakes_lib.MistakeDraw], Value]] = {
    'planner': _planner, 'intent': _intent, 'checker': _checker,
    'judge': _judge, 'goal': _goal, 'review': _goal, 'critic': _critic,
    'engineer': _engineer}
# Roles that make mistakes.
MISTAKEN = ('intent', 'user', 'agent', 'checker', 'judge', 'engineer')
