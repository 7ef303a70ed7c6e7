"""An offline stand-in for an LLM, so that the data engine runs without one.

No model: a grammar. It reads the JSON on the last line of the system prompt
(`eigendata/prompts.py` writes it) and answers by one pure function for each
role. A real LLM would have to think of an intent, a checker or the next words
by itself; this one is handed a domain's own drafts and only words them, with
varied language, and it gets them wrong at a set rate, in the ways that LLMs
do, so that validation has real work to do.
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
from agentrl.llm.stand_in import mistakes as habits

Payload = Mapping[str, Any]
Value = dict[str, Any]


class Procedural:
  """`llm.LLM` by rules.

  Args:
    mistakes: for each role (intent, user, agent, checker, judge, engineer) the
      share of its answers, or for user and agent of its dialogues, with a
      mistake.
    heeds: whether instructions switch mistakes off, or bring more; see
      `habits`, a simulation.

  Raises:
    ValueError: a rate is missing, of no role, or not within 0 .. 1.
  """

  def __init__(self, mistakes: Mapping[str, float], heeds: bool = False):
    self._rates, self._heeds = dict(mistakes), heeds
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
               seed: int) -> llm.Reply:
    del tools  # the script has the calls
    text = [m.content for m in messages if m.role == 'system'][-1]
    instructions, payload = _parts(text)
    role = payload['role']
    rng = random.Random(f'{role}/{seed}')
    rate, avoided = self._rates.get(role, 0.0), frozenset()
    if self._heeds:
      rate += habits.harm(instructions)
      avoided = habits.avoided(instructions, role)
    slip = habits.Slip(rng.random() < rate, avoided)
    if schema is None:
      message = actor.act(payload, messages, llm.SIDES[role], seed, slip)
      value, written = None, jsons.dumps(message)
    else:
      value = ROLES[role](payload, rng, slip)
      written = json.dumps(value, ensure_ascii=False)
      message = types.Message('assistant', written)
    return llm.Reply(message, value, llm.Usage(
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
  """Words, in place of the tokens of a model."""
  return sum(len((m.content or '').split()) for m in messages)


def _intent(payload: Payload, rng: random.Random, slip: habits.Slip) -> Value:
  """The drafts of a domain as one scenario."""
  demands = [{'draft': i, 'goal': d['goal']}
             for i, d in enumerate(payload['drafts'])]
  about = [d['about'] for d in payload['drafts']]
  if slip.due:
    _spoil(demands, about, payload['others'], rng, slip)
  goals = ' '.join(f'{i}. {d["goal"]}' for i, d in enumerate(demands, 1))
  return {'scenario': f'{payload["knowledge"]} {payload["style"]} {goals}',
          'demands': demands}


def _spoil(demands: list[Value], about: Sequence[Sequence[str]],
           others: Sequence[str], rng: random.Random,
           slip: habits.Slip) -> None:
  """A wrong entity, a missing detail, or a demand that is taken back."""
  details = [(d, word) for d, words in zip(demands, about) for word in words
             if word in d['goal']]
  if details and rng.random() < 0.7:
    demand, word = rng.choice(details)
    instead = rng.choice(('it', rng.choice(others)))
    if slip.makes('vague'):
      demand['goal'] = demand['goal'].replace(word, instead)
  elif slip.makes('contradiction'):
    demand = rng.choice(demands)
    demands.append({**demand, 'goal': f'Do not do this: {demand["goal"]}'})


def _checker(payload: Payload, rng: random.Random, slip: habits.Slip) -> Value:
  """A checker from what the gold run changed, said and kept to."""
  clauses = [(f'{path} is {value}', f'changes.get({path!r}) == {value!r}')
             for path, value in payload['changes'].items()]
  clauses.append((f'{habits.NOTHING_ELSE} is changed',
                  f'sorted(changes) == {sorted(payload["changes"])!r}'))
  clauses += [(f'{habits.TOLD} {fact}', f'said(events, {fact.lower()!r})')
              for fact in payload['tell']]
  clauses += [(f'{first} {habits.BEFORE} {then}',
               f'before(events, {first!r}, {then!r})')
              for first, then in payload['before']]
  clauses += [(f'{name} of {about} {habits.AGREED}',
               f'confirmed(events, {name!r}, {about!r})')
              for name, about in payload['confirmed']]
  clauses += [(f'{name} {habits.DONE} {n}x',
               f"[e[0] == 'call' and e[2] == {name!r} and e[4] "
               f'for e in events].count(True) == {n}')
              for name, n in payload['times'].items()]
  if slip.due:
    flaw = rng.choice((_omitted, _wrong_value, _too_strict))
    if slip.makes(flaw.__name__[1:]):
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


def _judge(payload: Payload, rng: random.Random, slip: habits.Slip) -> Value:
  """Looks over a dialogue without running anything."""
  del rng
  done, told, found = [], '', []
  grounds = _facts(payload['policy'], payload)
  for event in payload['transcript']:
    match event:
      case ['call', *call]:
        done.append(call)
      case ['result', side, text, ok]:
        if side == 'assistant':
          grounds |= _facts(text, payload)
        if side == 'assistant' and not ok:
          found.append(f'{done[-1][1]} {habits.REFUSED}')
      case ['user', text]:
        grounds |= _facts(text, payload)
      case ['assistant', text]:
        told += text.lower()
        found += [f'{fact} {habits.MADE_UP}'
                  for fact in sorted(_facts(text, payload) - grounds)]
  found += [f'{call[1]} {habits.MISSING}' for call in payload['writes']
            if call not in done]
  found += [f'{fact!r} {habits.UNTOLD}' for fact in payload['tell']
            if fact.lower() not in told]
  if slip.due:
    found = [] if found else ['the wording is off']
  failed = [c for c, ok in payload['clauses'].items() if not ok]
  fault = 'trajectory' if found else 'task' if failed else 'none'
  return {'success': not found, 'fault': fault,
          'critique': '; '.join(found or failed)}


def _facts(text: str, payload: Payload) -> set[str]:
  """Numbers and names of things in a text."""
  return set(re.findall(rf'\b\d+\b|{payload["entity"]}', text))


def _planner(payload: Payload, rng: random.Random, slip: habits.Slip) -> Value:
  """The (domain, demands, style) that is least like those planned before."""
  del rng, slip
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


def _goal(payload: Payload, rng: random.Random, slip: habits.Slip) -> Value:
  """Refuses: to think of a demand, or to review one, takes a mind."""
  del payload, rng, slip
  raise ValueError(
      'A domain without drafts (tasks.py, or tau2:<name>) takes an LLM that '
      'thinks of what customers want, and the stand-in cannot: set config.llm, '
      'see configs/eigendata/openai.py.')


RUBRIC = [
    'Every demand was met, or refused or handed over for the true reason.',
    'Every call has the right arguments; none is needless.',
    'Each change was named to the user and agreed to before it was made.',
    'All that the user was told is true.']
FAILURES = [
    'wrong argument', 'skipped confirmation', 'forgotten demand',
    'doubled write', 'wrong fact', 'premature refusal', 'user forgot a demand',
    'user made something up', 'user left early']


def _critic(payload: Payload, rng: random.Random, slip: habits.Slip) -> Value:
  """Who is at fault, by who turned a sample down; worst first."""
  del rng, slip
  counts: collections.Counter[str] = collections.Counter()
  evidence, kinds = (collections.defaultdict(list) for _ in range(2))
  for e in payload['examples']:
    role = habits.role_of(e['worker'], e['reason'])
    counts[role] += payload['rejected'][f'{e["worker"]}: {e["reason"]}']
    evidence[role].append(f'{e["reason"]}: {e["detail"]}')
    kinds[role] += [e['reason'], *e['problems']]
  return {'critiques': [
      {'role': role, 'problem': f'{count} samples speak against it',
       'evidence': '; '.join(evidence[role]),
       'kinds': sorted(set(kinds[role])), 'advice': 'Rule this out in words.'}
      for role, count in counts.most_common()]}


LESSONS = 3  # that a revision adds at most


def _engineer(payload: Payload, rng: random.Random, slip: habits.Slip) -> Value:
  """Adds the lessons that the evidence speaks for, or advice that harms."""
  role, text = payload['prompted'], payload['text']
  evidence = ' '.join(c['evidence'] for c in payload['critiques'])
  kinds = {kind for c in payload['critiques'] for kind in c.get('kinds', ())}
  bad = [advice for advice in habits.HARMFUL
         if f'{text}\n{advice}' not in payload['tried']]
  if slip.due and bad:
    return {'text': f'{text}\n{rng.choice(bad)}', 'failures': []}
  found = habits.lessons(role, kinds, evidence, habits.avoided(text, role))
  rng.shuffle(found)
  return {'text': '\n'.join([text, *found[:LESSONS]]), 'failures': []}


# Who plays no side (`llm.SIDES`) answers in JSON.
ROLES: dict[str, Callable[[Payload, random.Random, habits.Slip], Value]] = {
    'planner': _planner, 'intent': _intent, 'checker': _checker,
    'judge': _judge, 'goal': _goal, 'review': _goal, 'critic': _critic,
    'engineer': _engineer}
# Those that make mistakes.
MISTAKEN = ('intent', 'user', 'agent', 'checker', 'judge', 'engineer')
