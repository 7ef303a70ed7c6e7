"""The documents say nothing that is not there: every command is one that its
script and config take, every path and link leads somewhere, and the site
builds."""

import importlib
import importlib.util
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import ml_collections
import pytest

from agentrl import resolve

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', ROOT / 'BUILD.md', ROOT / 'LOG.md',
         *sorted((ROOT / 'docs').glob('*.md')),
         ROOT / 'benchmarks/results/README.md']
# Entries of LOG.md show the commands and names of their day.
SHOWN = [*(page for page in PAGES if page.name != 'LOG.md'),
         *sorted((ROOT / 'configs').rglob('*.py')),
         *sorted((ROOT / 'scripts').glob('*.py'))]
COMMAND = re.compile(r'python (scripts/\w+\.py)((?:\\\n|[^\n`\\])*)')
BASH = re.compile(r'bash (scripts/\w+\.sh)(?: ([\w,]+)(?=$|[ `]))?', re.M)
# As `on=--config.data=$a/data` in docs/training.md; `<a name>` stands for any.
VARIABLE, NAME = re.compile(r'(?<=[ ;])(\w+)=(--\S+)'), re.compile(r'<[^>]*>')
CODE = re.compile(r'(?<!`)`([^`\n]+)`(?!`)')
LINK = re.compile(r'\]\(([^)\s]+)\)')
# What a path may be relative to, and folders that only a run makes.
BASES = (ROOT, ROOT / 'agentrl')
MADE = ('runs/', 'site/', 'lamps/', 'corpus/', 'databases/', 'episodes/',
        'shards/', 'evolved/', 'report.html')
PATH = re.compile(r'[\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|sh|md|json|j2|toml|png))')
SOURCE = ('.py', '.sh', '.j2', '.md')
# Names of other programs, and of the example domain.
ELSEWHERE = {'ys'}
IMPORT = re.compile(r'agentrl\.[\w.]+:\w+')


def commands(text):
  """Yields (script, its flags as {name: value}) of each command shown."""
  short = dict(VARIABLE.findall(text))
  for script, rest in COMMAND.findall(text):
    for name, value in short.items():
      rest = rest.replace(f'${name}', value)
    words = shlex.split(NAME.sub('x', rest.replace('\\\n', ' ')), comments=True)
    flags = [w.strip('[]')[2:].partition('=') for w in words if '--' in w[:3]]
    yield script, {name: value for name, _, value in flags}


def assert_taken(script, flags):
  code = (ROOT / script).read_text()
  if 'import common' in code:
    code += (ROOT / 'scripts/common.py').read_text()
  fields = [name[7:] for name in flags if name.startswith('config.')]
  for name in {*flags} - {f'config.{field}' for field in fields}:
    assert f"'{name}'" in code, f'{script} has no flag {name}'
  path, _, arg = flags.get('config', '').partition(':')
  if '$' in arg or not path.endswith('.py'):
    assert not fields
    return
  get = importlib.import_module(path[:-3].replace('/', '.')).get_config
  config = get(arg) if arg else get()
  for field in fields:
    holder = config
    for part in field.split('.'):
      assert isinstance(holder, ml_collections.ConfigDict), field
      assert part in holder, f'{path}:{arg} has no {field}'
      holder = holder[part]


@pytest.mark.parametrize(
    'path', SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_taken(path):
  text = path.read_text()
  for script, flags in commands(text):
    assert_taken(script, flags)
  for script, extras in BASH.findall(text):
    assert (ROOT / script).is_file(), script
    known = (ROOT / 'setup.py').read_text()
    for extra in filter(None, extras.split(',')):
      assert f"'{extra}': [" in known, f'setup.py has no extra {extra}'


def test_the_commands_are_found():
  shown = list(commands((ROOT / 'docs/training.md').read_text()))
  assert len(shown) > 8
  grpo, = [flags for script, flags in shown if script.endswith('grpo.py')]
  assert {'config.data', 'config.user', 'config.init_from'} <= {*grpo}
  with pytest.raises(AssertionError, match='has no totl_steps'):
    assert_taken('scripts/train_grpo.py', {**grpo, 'config.totl_steps': '1'})
  assert BASH.findall('bash scripts/install.sh test,tau2\n') == [
      ('scripts/install.sh', 'test,tau2')]
  everywhere = ''.join(page.read_text() for page in PAGES)
  assert len(list(commands(everywhere))) > 25


def missing_paths(text):
  """Yields each `path` and each `import.path:name` that is not there."""
  for code in CODE.findall(text):
    path = code.partition(':')[0]
    if IMPORT.fullmatch(code):
      try:
        resolve.name(code)
      except (ImportError, AttributeError, ValueError):
        yield code
    elif ('/' in path and PATH.fullmatch(path) and not path.startswith(MADE)
          and not any((base / path).exists() for base in BASES)):
      yield code


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_paths_are_there(page):
  text = page.read_text()
  if page.name == 'LOG.md':
    text = text.partition('\n## 20')[0]  # the index
  assert not list(missing_paths(text))


@pytest.fixture(scope='module')
def source():
  """All words of the code."""
  text = ''.join(
      path.read_text() for folder in ('agentrl', 'scripts', 'configs', 'tests')
      for path in (ROOT / folder).rglob('*')
      if path.suffix in SOURCE and path.name != 'docs_test.py')
  return {*re.findall(r'\w+', text + (ROOT / 'setup.py').read_text())}


def missing_names(text, source):
  """Yields each `name` or `module.name` that no code has."""
  text = re.sub(r'^```.*?^```$', '', text, flags=re.S | re.M)
  for code in CODE.findall(text):
    name = re.fullmatch(r'(?:\w+\.)*([A-Za-z_]\w+)(?:\(.*\))?', code)
    if name and name[1] not in source and name[1] not in ELSEWHERE:
      yield code


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_names_are_those_of_the_code(page, source):
  text = page.read_text()
  if page.name == 'LOG.md':
    text = text.partition('\n## 20')[0]  # the index
  assert not list(missing_names(text, source))


def test_a_missing_name_is_seen(source):
  text = '`losses.clipped_surrogate` `Engine` `losses.no_such` `get(a, b)`'
  assert list(missing_names(text, source)) == ['losses.no_such']


def test_a_missing_path_is_seen():
  text = ('`agentrl/rl/losses.py` `rl/losses.py` `scripts/nope.sh` `models/`'
          ' `runs/a/b.json` `configs/eval/tau2.py:agent=noop` `rl/nope.py`'
          ' `agentrl.rl.losses:clipped_surrogate` `agentrl.rl.losses:nope`')
  assert list(missing_paths(text)) == [
      'scripts/nope.sh', 'rl/nope.py', 'agentrl.rl.losses:nope']


@pytest.mark.parametrize(
    'path', [p for p in SHOWN if p.suffix == '.py'],
    ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_named_in_code_are_there(path):
  for name in re.findall(r'\b(?:docs/)?\w+\.md\b', path.read_text()):
    assert (ROOT / name).exists() or name == 'policy.md', name


def anchors(text):
  """Names by which a page's headings are linked to, on GitHub and the site."""
  text = re.sub(r'^```.*?^```$', '', text, flags=re.S | re.M)
  return {re.sub(r'[-\s]+', '-', re.sub(r'[^\w\s-]', '', title.lower()).strip())
          for title in re.findall(r'^#+ (.+)$', text, re.M)}


def broken_links(page, text):
  """Yields each link of a page to a file or heading that is not there."""
  for link in LINK.findall(text):
    path, _, anchor = link.partition('#')
    target = page.parent / path
    if link.startswith(('http:', 'https:')):
      continue
    if path and not target.exists():
      yield link
      continue
    headings = anchors(target.read_text() if path and anchor else text)
    if anchor and anchor not in headings:
      yield link


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
  assert not list(broken_links(page, page.read_text()))


def test_a_broken_link_is_seen():
  text = ('# One, two\n[a](#one-two) [b](#three) [c](docs/data.md) [d](no.md)'
          ' [e](docs/scaling.md#more-data) [f](docs/scaling.md#less-data)')
  assert list(broken_links(ROOT / 'README.md', text)) == [
      '#three', 'no.md', 'docs/scaling.md#less-data']


def test_every_page_is_in_the_navigation():
  config = (ROOT / 'mkdocs.yml').read_text()
  readme = (ROOT / 'README.md').read_text()
  for page in (ROOT / 'docs').glob('*.md'):
    assert f': {page.name}' in config
    assert f'docs/{page.name}' in readme or page.name == 'index.md'


@pytest.fixture(scope='module')
def hooks():
  pytest.importorskip('mkdocs', reason='needs the extra docs')
  spec = importlib.util.spec_from_file_location(
      'docs_hooks', ROOT / 'docs/hooks.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('name, text, loads', [
    ('a.html', '<script src="https://a/b.js"></script>', 1),
    ('a.html', '<link rel=stylesheet href=//a/b.css><a href="https://a">', 1),
    ('a.html', '<img src="b.png"><script>"https://a"</script>', 0),
    ('a.css', 'a{background:url("https://a/b.png")}', 1),
    ('a.css', 'a{background:url(data:image/svg+xml;x)} /* https://a */', 0)])
def test_files_from_elsewhere_are_seen(name, text, loads, hooks, tmp_path):
  (tmp_path / name).write_text(text)
  assert len(list(hooks.loaded_from_elsewhere(tmp_path / name))) == loads


def build(root, site):
  """Builds the site of a checkout as scripts/docs.sh does."""
  return subprocess.run(
      [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', site],
      cwd=root, capture_output=True, text=True, check=False)


def test_the_site_builds(hooks, tmp_path):
  pytest.importorskip('material')
  built = build(ROOT, tmp_path)
  assert built.returncode == 0, built.stderr
  pages = {path.name for path in tmp_path.glob('*.html')}
  assert {'index.html', 'domains.html', 'build.html', 'log.html'} <= pages
  text = (tmp_path / 'build.html').read_text()
  assert 'href="domains.html"' in text  # a link to docs/domains.md
  titles = re.findall(r'class="filename">([^<]+)',
                      (tmp_path / 'domains.html').read_text())
  assert 'lamps/tasks.py' in titles


@pytest.mark.parametrize('bad, why', [
    ('[a](nope.md)', 'nope.md'), ('[a](data.md#nope)', "'#nope'"),
    ('<img src="https://a/b.png">', 'loads https://a/b.png')])
def test_the_build_fails_at(bad, why, hooks, tmp_path):
  pytest.importorskip('material')
  shutil.copytree(ROOT / 'docs', tmp_path / 'docs')
  for name in ('mkdocs.yml', 'BUILD.md', 'LOG.md'):
    shutil.copy(ROOT / name, tmp_path / name)
  with (tmp_path / 'docs/tau2.md').open('a') as page:
    page.write(f'\n\n{bad}\n')
  built = build(tmp_path, tmp_path / 'site')
  assert built.returncode and why in built.stderr, built.stderr
