"""Simulates how prompts change the mistakes of an LLM.

Used by `procedural.Procedural(obeys_prompts=True)`, so that the closed loop
that revises prompts can be tried, and measured, without an LLM. Each mistake of
the stand-in has a remedy: an instruction that prevents it wherever a prompt
contains it. Some instructions sound good and do harm.
The stand-in's critic goes by the kinds of rejections and problems that the
engine reports of a sample, and by words of the stand-in's own checkers and
judge; these are ambiguous, as signs of mistakes are.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Mistake:
  """A mistake that an instruction prevents.

  Attributes:
    role: role of the prompt under which it is made.
    name: name of the mistake.
    kinds: kinds of rejections and problems of samples that may have it.
    words: words in the details of samples that may have it.
    remedy: the instruction; case and line breaks do not matter.
  """

  role: str
  name: str
  kinds: tuple[str, ...]
  words: tuple[str, ...]
  remedy: str


@dataclasses.dataclass(frozen=True, slots=True)
class MistakeDraw:
  """Decides whether an answer of the stand-in gets a mistake.

  Attributes:
    due: whether one is drawn.
    prevented: names of mistakes that are not made, even if drawn.
  """

  due: bool = False
  prevented: frozenset[str] = frozenset()

  def makes(self, name: str) -> bool:
    """Returns whether the mistake is made, if it is the one that was drawn."""
    return self.due and name not in self.prevented


# Words of the stand-in's own checkers and judge, which its critic looks for.
NOTHING_ELSE = 'nothing else'
TOLD = 'told:'
BEFORE = 'before'
AGREED = 'was agreed'
DONE = 'was done'
MISSING = 'is missing'
REFUSED = 'was refused'
MADE_UP = 'is made up'
UNTOLD = 'was not told'

# Kinds of problems by which the engine turns down a wrong checker.
PASSES_MUTANT = ('deleted', 'doubled', 'argument changed', 'unasked',
                 'left out', 'untold', 'forbidden', 'unwanted')
PASSES_FLOOR, GOLD_FAILS = 'passes to', 'gold run fails'
BREAKS = 'checker breaks'

MISTAKES = (
    Mistake('intent', 'vague',
            ('wrong entity', 'missing detail', 'missing demand'), (),
            'Copy every name, number and date of a draft into its demand.'),
    Mistake('intent', 'contradiction', ('contradiction',), (),
            'No demand may take back another one.'),
    Mistake('checker', 'omitted', (*PASSES_MUTANT, PASSES_FLOOR), (),
            'Every change, told fact, order, confirmation and count below gets '
            'a clause of its own.'),
    Mistake('checker', 'wrong_value', (*PASSES_MUTANT, GOLD_FAILS, BREAKS), (),
            'Copy values letter by letter.'),
    Mistake('checker', 'too_strict', (GOLD_FAILS,), (),
            'Never test how something was worded.'),
    Mistake('agent', 'wrong_argument', ('agent fails',),
            (MISSING, REFUSED, NOTHING_ELSE),
            'Read the arguments of a call from the script before you make it.'),
    Mistake('agent', 'skipped_confirmation', ('agent fails',), (AGREED,),
            'Name each change and wait for the yes before you make it.'),
    Mistake('agent', 'forgotten', (), (MISSING, UNTOLD),
            'Go through the demands at the end: none may be left.'),
    Mistake('agent', 'doubled', (), (DONE, REFUSED),
            'Make no call twice.'),
    Mistake('agent', 'wrong_fact', (), (MADE_UP, UNTOLD, TOLD),
            'Say only what a tool or the policy has told you.'),
    Mistake('agent', 'refusal', ('agent fails',), (MISSING, BEFORE),
            'Refuse nothing that the policy allows.'),
    Mistake('user', 'unsaid', ('unsaid',), (),
            'Bring up every demand of the scenario.'),
    Mistake('user', 'made_up', ('made up',), (),
            'Name no order, person or number that the scenario lacks.'),
    Mistake('user', 'early', ('unsaid',), (),
            'Stay until the last demand is settled.'),
)
HARMFUL = ('Be quick: leave out whatever seems needless.',
           'Surprise us: vary names, numbers and steps.')
HARM = 0.25  # added to the rate of a role with such advice in its prompt


def prevented(instructions: str, role: str) -> frozenset[str]:
  """Returns names of the mistakes of a role that its instructions prevent."""
  text = ' '.join(instructions.lower().split())
  return frozenset(m.name for m in MISTAKES
                   if m.role == role and m.remedy.lower() in text)


def harm(instructions: str) -> float:
  """Returns the share of mistakes that harmful advice adds."""
  text = ' '.join(instructions.split())
  return HARM * any(advice in text for advice in HARMFUL)


def remedies(role: str, kinds: Collection[str], text: str,
             known: Collection[str]) -> list[str]:
  """Returns the remedies that the evidence speaks for.

  Args:
    role: role that the prompt is for.
    kinds: kinds of rejections and problems of its samples.
    text: details of its samples.
    known: names of mistakes for which the prompt has the remedy already.
  """
  return [m.remedy for m in MISTAKES if m.role == role
          and m.name not in known
          and (not set(m.kinds).isdisjoint(kinds)
               or any(words in text for words in m.words))]


def role_of(worker: str, kind: str) -> str:
  """Returns the role whose prompt a rejection speaks against."""
  if worker in ('UserIntent', 'TaskValidation'):
    return 'intent'
  if worker in ('ValidationFunction', 'Certificate'):
    return 'checker'
  if kind == 'checker disagrees with judge':
    return 'checker'
  return 'user' if kind == 'user fault' else 'agent'
