"""Hostile checkers: each ends as an error or a plain 0, and hurts nobody.

Every body answers True if what it tries has worked, so a reward of 1 is a
hole.
"""

import os
import threading
import time

import pytest

from agentrl.envs import checkers

HEAD = 'def check(changes, events):\n  '
GOOD = HEAD + "return {'all is well': True}"
TWINS = 'x = [0]\n  for _ in range(40):\n    x = [x, x]\n  '  # 2**40 parts
DEEP = 'x = []\n  for _ in range(10**5):\n    x = [x]\n  '

NO_WAY_OUT = {
    'read a file': "return {'a': bool(open('/etc/hostname').read())}",
    'write a file': "return {'a': bool(open('hurt', 'w').write('x'))}",
    'look for a file': 'import pathlib\n  '
                       "return {'a': pathlib.Path('/etc/hostname').exists()}",
    'list a folder': "import os\n  return {'a': bool(os.listdir('/'))}",
    'environment': "import os\n  return {'a': bool(os.environ)}",
    'one variable': "import os\n  return {'a': bool(os.getenv('PATH'))}",
    'shell': "import os\n  return {'a': os.system('true') == 0}",
    'fork': "import os\n  return {'a': os.fork() >= 0}",
    'kill': "import os\n  os.kill(os.getppid(), 9)\n  return {'a': True}",
    'subprocess': "import subprocess\n  return {'a': True}",
    'thread': "import threading\n  return {'a': True}",
    'socket': "import socket\n  return {'a': True}",
    'http': "import urllib.request\n  return {'a': True}",
    'native code': "import ctypes\n  return {'a': True}",
    'our own code': "import agentrl\n  return {'a': True}",
    'import by name': "return {'a': bool(__import__('os').system)}",
    'import in eval': '''return {'a': bool(eval("__import__('os').fork"))}''',
    'importlib': "import importlib\n  return {'a': True}",
    'builtins': "import builtins\n  return {'a': True}",
    'input': "return {'a': bool(input())}",
    'exit': 'import sys\n  sys.exit()',
    'class of': "return {'a': bool(().__class__)}",
    'subclasses': "return {'a': bool(type(()).__subclasses__())}",
    'globals of a function': "return {'a': bool(check.__globals__)}",
    'code of a function': "return {'a': bool(check.__code__)}",
    'frames': "import sys\n  return {'a': bool(sys._getframe())}",
    'modules': "import sys\n  return {'a': bool(sys.modules)}",
    'format': "return {'a': bool('{0.__class__}'.format(check))}",
    'traceback': 'try:\n    1 / 0\n  except ZeroDivisionError as e:\n    '
                 "return {'a': bool(e.__traceback__.tb_frame)}",
    'pickle': "import pickle\n  return {'a': True}"}

MUCH = {
    'string': "return {'a': len('x' * 10**10) > 0}",
    'string grows': "x = 'x'\n  while True:\n    x += x",
    'list': "return {'a': len([0] * 10**10) > 0}",
    'dict': 'd = {}\n  while True:\n    d[len(d)] = [0] * 99',
    'bytes': "return {'a': len(bytes(10**10)) > 0}",
    'replace': "return {'a': bool(('x' * 10**6).replace('x', 'y' * 10**6))}",
    'join': "return {'a': bool(('y' * 10**6).join(['x'] * 10**5))}",
    'padding': "return {'a': bool(f'{1:1000000000}')}",
    'shift': "return {'a': 1 << 10**10 > 1}",
    'range': "return {'a': bool(list(range(10**12)))}",
    'sorting': "return {'a': bool(sorted(range(10**7)))}",
    'memory errors are caught': (
        'x = []\n  while True:\n    try:\n      x.append([0] * 10**5)\n    '
        'except BaseException:\n      pass'),
    'text in eval': "return {'a': eval('1+' * 10**6 + '1') > 0}",
    'JSON of twins': "import json\n  " + TWINS
                     + "return {'a': bool(json.dumps(x))}",
    'recursion': 'return check(changes, events)',
    'recursion is caught': (
        'def f():\n    try:\n      f()\n    except RecursionError:\n      f()\n'
        '  f()'),
    'deep lists': DEEP + "return {'a': x == [x]}",
    'deep JSON': "import json\n  return {'a': bool(json.loads('[' * 10**6))}",
    'deep source': "return {'a': " + '(' * 9999 + '1' + ')' * 9999 + '}',
    'chain of operators': "return {'a': " + '-' * 30000 + '1 > 0}',
    'long source': "return {'a': '" + 'x' * 10**6 + "'}",
    'long number': "return {'a': " + '9' * 10000 + ' > 0}',
    'digits': "return {'a': bool(str(2 ** 10**7))}"}

ENDLESS = {
    'loop': 'while True:\n    pass',
    'timeout is caught': 'while True:\n    try:\n      while True:\n        '
                         'pass\n    except BaseException:\n      pass',
    'finally': 'try:\n    while True:\n      pass\n  finally:\n    '
               'while True:\n      pass',
    'exec': "exec('while True: pass')\n  return {'a': True}",
    'sum': "return {'a': sum(range(10**12)) > 0}",
    'regex': "import re\n  return {'a': bool(re.match('(a|aa)+$', "
             "'a' * 10**5 + 'b'))}",
    'regex with memory': "import re\n  return {'a': bool(re.match("
                         "r'(a*)*\\1b', 'a' * 60))}",
    'factorial': "import math\n  return {'a': math.factorial(10**6) > 1}",
    'hash': "import hashlib\n  return {'a': bool(hashlib.pbkdf2_hmac("
            "'sha256', b'', b'', 10**9))}",
    'coroutine': 'import asyncio\n  async def f():\n    while True:\n      '
                 'await asyncio.sleep(0)\n  asyncio.run(f())',
    'prints': "while True:\n    print('x' * 10**6)",
    'prints, errors are caught': (
        "while True:\n    try:\n      print('x' * 10**6)\n    "
        'except BaseException:\n      pass')}

# The interpreter does not look at its clock within one of these.
DEAF = {
    'power': "return {'a': 7 ** 10**7 > 0}",
    'products': "x = 7 ** 10**6\n  for _ in range(100):\n    x = x * x % 10**"
                "900000\n  return {'a': True}",
    'comparison of twins': TWINS + 'y = x\n  ' + TWINS
                           + "return {'a': x == y}"}

ANSWERS = {
    'int': 'return 1', 'true': 'return True', 'none': 'return None',
    'nothing': 'pass', 'nan': "return float('nan')", 'empty': 'return {}',
    'list': 'return [True]', 'set': "return {'a'}", 'pair': "return 'a', True",
    'clause is 1': "return {'a': 1}",
    'clause is none': "return {'a': None}",
    'clause is nan': "return {'a': float('nan')}",
    'clause is nested': "return {'a': {'b': True}}",
    'one of many': "return {'a': True, 'b': 1}",
    'name is int': 'return {1: True}', 'name is pair': 'return {(): True}',
    'itself': 'return check', 'a generator': 'return (x for x in [True])',
    'itself within': "x = {}\n  x['a'] = x\n  return x",
    'twins': TWINS + 'return x', 'twins in a clause': TWINS + "return {'a': x}",
    'deep': DEEP + 'return x', 'deep in a clause': DEEP + "return {'a': x}",
    'large parts': "return {'a': ['x' * 10**6] * 10**5}",
    'many clauses': 'return {str(i): True for i in range(1000)}',
    'long error': "raise ValueError('x' * 10**7)",
    'error with markup': "raise ValueError('\\x1b[31m###STOP###')",
    'leaves': 'raise SystemExit(0)', 'interrupts': 'raise KeyboardInterrupt()',
    'not Python': 'x = (', 'yields': "yield {'a': True}",
    'names mean others': (
        "global f, isinstance, all\n  isinstance = all = lambda *a: True\n  "
        "return {'a': 1}")}


def judged(body, changes=None):
  """The score of a body, after which a good checker must get its 1."""
  score = checkers.score(HEAD + body, changes or {}, [])
  assert checkers.score(GOOD, {}, []).reward == 1
  return score


def assert_harmless(body):
  score = judged(body)
  assert score.reward == 0 and (score.error or score.clauses)
  assert len(score.error) <= checkers.MOST_ERROR
  assert not score.error or score.error.isprintable()
  return score


def table(cases):
  return pytest.mark.parametrize('body', cases.values(), ids=cases.keys())


@pytest.fixture
def brief(monkeypatch):
  """A shorter limit of time, so that many loops take little of it."""
  monkeypatch.setitem(checkers.LIMITS, 'max_feed_duration_secs', 0.1)


@table(NO_WAY_OUT)
def test_there_is_no_way_out(body, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert_harmless(body)
  assert not os.listdir(tmp_path)


@table(MUCH)
def test_much_of_anything_is_an_error(body, brief):
  assert assert_harmless(body).error


@table(ENDLESS)
def test_what_does_not_end_is_ended(body, brief, capfd):
  assert_harmless(body)
  assert not capfd.readouterr().out


@table(ANSWERS)
def test_an_answer_of_another_kind_is_an_error(body, brief):
  assert assert_harmless(body).error


@table(DEAF)
def test_a_worker_that_does_not_hear_is_killed(body, brief):
  assert 'killed' in assert_harmless(body).error


@pytest.mark.slow
@table(ENDLESS | DEAF)
def test_the_same_within_the_real_limits(body, capfd):
  began = time.monotonic()
  assert_harmless(body)
  # The two limits, and as much again for a machine that is busy.
  assert time.monotonic() - began < 2 * (
      checkers.LIMITS['max_feed_duration_secs'] + checkers.GRACE_S)


def test_clauses_are_kept_short_and_plain():
  score = judged("return {'x' * 10**7: True, 'a\\x1b[31m\\n': True}")
  assert score.clauses == {'x' * checkers.MOST_CLAUSE: True, 'a?[31m?': True}
  for one, two in ((True, False), (False, True)):  # alike when cut
    body = f"return {{'x' * 999: {one}, 'x' * 998: {two}}}"
    assert judged(body).reward == 0


def test_printing_is_bounded_and_not_shown(capfd):
  assert judged("print('x' * 100)\n  return {'a': True}").reward == 1
  assert judged("print('x' * 10**6)\n  return {'a': True}").error
  assert not capfd.readouterr().out


def test_sleeping_takes_no_time():
  slept = ("import time\n  for _ in range(99):\n    time.sleep(9)\n  "
           "return {'a': True}")
  began = time.monotonic()
  assert judged(slept).reward == 1
  assert time.monotonic() - began < 9


def test_inputs_are_copies():
  changes, events = {'a.b.c': [1]}, [['user', 'hello']]
  answer = checkers.run(
      HEAD + "changes['a.b.c'].append(2)\n  changes.clear()\n  "
      "events[0][1] = ''\n  return {'a': True}", changes, events)
  assert answer == {'a': True}
  assert (changes, events) == ({'a.b.c': [1]}, [['user', 'hello']])


@pytest.mark.parametrize('leave, find', [
    ('global leak\n  leak = 1', "'a': leak == 1"),
    ('global said\n  said = lambda *a: True', "'a': said(events, 'x')"),
    ('import math\n  math.pi = 3', "'a': math.pi == 3"),
    ('import random\n  random.seed(7)', "'a': random.random() < 0.5"),
    ("open('left', 'w').write('x')", "'a': bool(open('left').read())")])
def test_nothing_is_left_for_the_next(leave, find):
  head = HEAD + 'import math\n  import random\n  '
  code = f'{head}return {{{find}}}'
  before = checkers.score(code, {}, [])
  checkers.score(f"{head}{leave}\n  return {{'a': True}}", {}, [])
  assert checkers.score(code, {}, []) == before
  assert before.reward == 0


@pytest.mark.parametrize('clause', [
    "','.join({str(i * 7919) for i in range(30)})", "str(hash('abc'))",
    "str(list({said, called, before}))", "str([*{**changes, 'z': 1}])",
    'str(time.time())', 'str(time.perf_counter())', 'str(random.random())',
    'str(random.Random().random())', 'str(datetime.datetime.now())'])
def test_the_verdict_is_the_same_twice(clause, brief):
  code = (HEAD + 'import datetime, random, time\n  '
          f'return {{({clause})[:100]: True}}')
  one, _ = checkers.run(code, {'b': 1, 'a': 2}, []), judged('while True: pass')
  two = checkers.run(code, {'b': 1, 'a': 2}, [])  # of a new worker
  assert one == two


def test_the_pool_outlives_its_workers(monkeypatch):
  monkeypatch.setitem(checkers.LIMITS, 'max_feed_duration_secs', 30)
  pool, _ = checkers._pool()
  with pool.checkout() as session:
    idle = session.worker_pid
  os.kill(idle, 9)
  assert judged("return {'a': True}").reward == 1
  with pool.checkout() as session:
    busy = session.worker_pid
  threading.Timer(0.05, os.kill, (busy, 9)).start()
  assert judged("return {'a': sum(range(10**6)) > 0}").reward == 1


def test_threads_share_the_pool(brief):
  scores = {}
  def judge(name, body):
    scores[name] = checkers.score(HEAD + body, {}, []).reward
  jobs = [threading.Thread(target=judge, args=(i, body)) for i, body in
          enumerate(["return {'a': True}", 'while True: pass'] * 4)]
  for job in jobs:
    job.start()
  for job in jobs:
    job.join()
  assert [scores[i] for i in range(8)] == [1, 0] * 4


def test_a_fork_is_refused_before_it_hangs(monkeypatch):
  checkers.run(GOOD, {}, [])
  monkeypatch.setattr(os, 'getpid', lambda: -1)
  with pytest.raises(RuntimeError, match='by spawn'):
    checkers.run(GOOD, {}, [])
