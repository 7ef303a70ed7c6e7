"""The benchmark's own orchestrator and evaluator, as oracle for ours."""

import copy
import functools
import importlib
import importlib.util
import sys
import types as pytypes
import uuid

import pydantic
import pytest

from agentrl import types
from agentrl.envs import dialogue


class _Stub(pytypes.ModuleType):
  """Stands in for an LLM client, which importing needs and no test calls."""
  __path__ = ()

  def __getattr__(self, name):
    if name.startswith('__'):  # what others look for in every module
      raise AttributeError(name)
    return lambda *args, **kw: None


@pytest.fixture(scope='module')
def package():
  """The package's parts; None of its LLM clients is ever called."""
  pytest.importorskip(
      'tau2.domains.telecom', reason='needs the real benchmark: '
      'bash scripts/install_tau2.sh')
  with pytest.MonkeyPatch.context() as patch:
    for root, names in {
        'litellm': ('', '.caching', '.caching.caching', '.main'),
        'rich': ('', '.table', '.panel', '.text'),
        'gymnasium': ('', '.envs', '.envs.registration')}.items():
      if not importlib.util.find_spec(root):
        for name in names:
          patch.setitem(sys.modules, root + name, _Stub(root + name))
    parts = {name.rpartition('.')[2]: importlib.import_module(f'tau2.{name}')
             for name in ('agent.llm_agent', 'data_model.message',
                          'data_model.simulation',
                          'evaluator.evaluator', 'orchestrator.orchestrator',
                          'user.base', 'user.user_simulator')}
    # The random id of a bill would make each replay differ: see the test of
    # that oddity.
    patch.setattr(uuid, 'uuid4', lambda: uuid.UUID(int=7))
    yield pytypes.SimpleNamespace(**parts)


# Types without parts; a call for each of them would take most of the time.
_ATOMS = frozenset((str, int, float, bool, type(None)))


def clone(value):
  """A deep copy of a database; pydantic's own takes a third of a second.

  Not that of `envs/tau2/state.py`, which the oracle is to check.
  """
  kind = type(value)
  if kind is dict:
    return {k: v if type(v) in _ATOMS else clone(v) for k, v in value.items()}
  if kind is list:
    return [v if type(v) in _ATOMS else clone(v) for v in value]
  if kind in _ATOMS or not isinstance(value, pydantic.BaseModel):
    return copy.deepcopy(value)
  new = kind.__new__(kind)
  put = object.__setattr__
  put(new, '__dict__', clone(value.__dict__))
  put(new, '__pydantic_fields_set__', set(value.model_fields_set))
  put(new, '__pydantic_extra__', None)
  put(new, '__pydantic_private__', None)
  return new


class _Gold:
  """An environment that carries the gold calls out the first time only."""

  def __init__(self, environment):
    self._env, self._hashes = environment, None

  def set_state(self, **kw):
    if not self._hashes:
      self._env.set_state(**kw)

  def make_tool_call(self, **kw):
    if not self._hashes:
      self._env.make_tool_call(**kw)

  def get_db_hash(self):
    if not self._hashes:
      self._hashes = self._env.get_db_hash(), self._env.get_user_db_hash()
      self._env = None  # 40 MB
    return self._hashes[0]

  def get_user_db_hash(self):
    return self._hashes[1]


class Oracle:
  """One domain of the package, driven by a script."""

  def __init__(self, package, domain):
    self.pkg, self.domain = package, domain
    self.module = importlib.import_module(
        f'tau2.domains.{domain}.environment')
    env = self.module.get_environment()
    self._tables = env.tools.db, getattr(env.user_tools, 'db', None)
    self._evaluate = package.evaluator.evaluate_simulation
    self._ends = {}

  @functools.cached_property
  def tasks(self):
    return {t.id: t for t in self.module.get_tasks(None)}

  def environment(self, solo_mode=False):
    """The package's, but parsed only once; each in a process of its own."""
    if self.domain == 'telecom':
      vpn = self.module.TelecomUserTools.default_vpn_details
      vpn.server_performance = type(vpn.server_performance)('excellent')
    db, user_db = map(clone, self._tables)
    tables = {'db': db} if user_db is None else {'db': db, 'user_db': user_db}
    return self.module.get_environment(**tables, solo_mode=solo_mode)

  def play(self, task, reply, limits, hashes=False):
    """(run, reward info, who saw what last, hashes of the end state)."""
    pkg, seen, count = self.pkg.message, [], iter(range(10**6))

    def generate(side, cls, message):
      last = getattr(message, 'tool_messages', [message])[-1]
      seen.append((side, [last.content]))
      m = reply(next(count))
      calls = [pkg.ToolCall(id=c.id, name=c.name, arguments=dict(c.arguments),
                            requestor=side) for c in m.tool_calls]
      return cls(role=side, content=m.content, tool_calls=calls or None)

    class Agent(self.pkg.llm_agent.LocalAgent):
      def get_init_state(self, message_history=None):
        return None
      def generate_next_message(self, message, state):
        return generate('assistant', pkg.AssistantMessage, message), state

    class User(self.pkg.base.BaseUser):
      def get_init_state(self, message_history=None):
        return None
      def generate_next_message(self, message, state):
        return generate('user', pkg.UserMessage, message), state
      def is_stop(self, message):
        raise AssertionError('the orchestrator asks UserSimulator')

    environment, raw = self.environment(), self.tasks[task.id]
    run = self.pkg.orchestrator.Orchestrator(
        self.domain, Agent([], ''), User(), environment, raw,
        max_steps=limits.max_steps, max_errors=limits.max_errors).run()
    # Before the evaluation, which resets the VPN that all of them share.
    end = hashes and (environment.get_db_hash(), environment.get_user_db_hash())
    return run, self.evaluate(run, raw), seen, end

  def evaluate(self, run, raw):
    """The package's verdict; the gold end state is worked out once a task."""
    def make(**solo):  # the evaluator makes the gold environment without
      if solo:
        return self.environment(**solo)
      if raw.id not in self._ends:
        self._ends[raw.id] = _Gold(self.environment())
      return self._ends[raw.id]
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(self.pkg.evaluator.registry, 'get_env_constructor',
                    lambda domain: make)
      return self._evaluate(run, raw, self.pkg.evaluator.EvaluationType.ALL,
                            False, self.domain)

  def agree(self, env, task, reply, limits, hashes=False):
    """Plays by both, compares everything; (reason, reward)."""
    end, score, seen, world = play(env, task, reply, limits)
    run, info, their_seen, their_end = self.play(task, reply, limits, hashes)
    assert [flat(m) for m in end.messages] == [flat(m) for m in run.messages]
    assert end.reason == run.termination_reason
    assert seen == their_seen
    assert (score.reward, score.error) == (info.reward, '')
    parts = {k.value: v for k, v in (info.reward_breakdown or {}).items()}
    assert score.parts == parts
    if info.db_check:
      assert score.db == info.db_check.db_reward
    if hashes:
      ours = world.environment
      assert (ours.get_db_hash(), ours.get_user_db_hash()) == their_end
    return end.reason, score.reward


@pytest.fixture(scope='module')
def oracle(package):
  """domain -> `Oracle`."""
  return functools.cache(functools.partial(Oracle, package))


def play(env, task, reply, limits):
  """(end, score, who saw what last, world) of the script, by our rules."""
  world = env.start(task)
  game = dialogue.play(world, limits=limits, system=dialogue.UNPROMPTED)
  seen, ask, n = [], next(game), 0
  while True:
    last = [m.content for _, m in ask.new if m.role != 'system'][-1:]
    seen.append((ask.side, last))
    try:
      ask, n = game.send(reply(n)), n + 1
    except StopIteration as stop:
      end = stop.value
      return end, env.score(task, world, end.messages, end.reason), seen, world


def flat(m):
  """Of either kind of message, all that must agree."""
  calls = [(c.id, c.name, dict(c.arguments), c.requestor)
           for c in m.tool_calls or ()] if m.role != 'tool' else []
  tool = (m.id, m.requestor, m.error) if m.role == 'tool' else ()
  return m.role, m.content, calls, tool


@pytest.fixture(scope='session')
def gold_moves():
  """fn(task) -> the gold calls in turns, each side's as one message a call,
  with the facts in words."""
  def moves(task):
    told = '; '.join(['Hello.', *task.criteria.communicate_info])
    messages = [types.Message('assistant', text)
                for text in ('Hi.', told, 'Yes.')]
    side = 'assistant'
    for i, a in enumerate(task.criteria.actions):
      if a.requestor != side:
        messages.append(types.Message('assistant', 'Go on.'))
        side = a.requestor
      call = types.ToolCall(a.name, a.arguments, f'{i}', side)
      messages.append(types.Message('assistant', None, (call,)))
    if side == 'assistant':
      messages.append(types.Message('assistant', 'Bye.'))
    return [*messages, types.Message('assistant', '###STOP###')]
  return moves
