"""Hooks of MkDocs: BUILD.md and LOG.md become pages, and a built site must load
nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
import html.parser
import pathlib
import re
from typing import Any

from mkdocs import exceptions
from mkdocs.structure import files as files_lib

ROOT = pathlib.Path(__file__).parent.parent
PAGES = {'BUILD.md': 'build.md', 'LOG.md': 'log.md'}
# Tags that load a file when a page is opened -> their attribute.
LOADS = {'script': 'src', 'img': 'src', 'iframe': 'src', 'source': 'src',
         'link': 'href'}
_FENCE = re.compile(r'^```(\w+) (\S+)$', re.MULTILINE)
_LINK = re.compile(r'\]\(([\w./-]+\.md)(#[\w-]*)?\)')
_IN_CSS = re.compile(r'''(?:@import|url\()\s*["']?(?:https?:)?//''')


def on_files(files: files_lib.Files, config: Any) -> files_lib.Files:
  """Adds the documents of the root to the pages."""
  for name, page in PAGES.items():
    files.append(files_lib.File.generated(
        config, page, content=(ROOT / name).read_text()))
  return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
  """Returns a page's text with links and code titles as the site has them."""
  del page
  markdown = _FENCE.sub(r'```\1 title="\2"', markdown)
  return _LINK.sub(lambda m: f']({_page(m[1])}{m[2] or ""})', markdown)


def _page(link: str) -> str:
  """Name of the page that a document of the repository becomes."""
  name = pathlib.PurePosixPath(link).name
  return PAGES.get(name, 'index.md' if name == 'README.md' else name)


def on_post_build(config: Any) -> None:
  """Fails if a page of the site loads anything from elsewhere.

  Raises:
    mkdocs.exceptions.PluginError: names the first page and address.
  """
  for path in sorted(pathlib.Path(config.site_dir).rglob('*')):
    for address in loaded_from_elsewhere(path):
      raise exceptions.PluginError(
          f'{path} loads {address}: put the file into docs/ instead.')


def loaded_from_elsewhere(path: pathlib.Path) -> Iterator[str]:
  """Yields what a page or a style sheet loads from other servers."""
  if path.suffix == '.css':
    yield from _IN_CSS.findall(path.read_text())
  elif path.suffix == '.html':
    parser = _Loads()
    parser.feed(path.read_text())
    yield from parser.addresses


class _Loads(html.parser.HTMLParser):
  """Collects the addresses of other servers that a page loads files from."""

  def __init__(self) -> None:
    super().__init__()
    self.addresses: list[str] = []

  def handle_starttag(self, tag: str,
                      attrs: list[tuple[str, str | None]]) -> None:
    address = dict(attrs).get(LOADS.get(tag, ''), '') or ''
    if address.startswith(('http:', 'https:', '//')):
      self.addresses.append(address)
