"""What `make docs` adds to MkDocs: the pages of site_pages.py, GitHub's anchors, and no load from the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import site_pages
from mkdocs.config.config_options import ExtraScriptValue
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File


def on_config(config: Any) -> Any:
    config.mdx_configs.setdefault("toc", {})["slugify"] = site_pages.slug
    # The plugin `offline` would load a script of this kind from a CDN.
    config.extra["polyfills"] = [ExtraScriptValue("site_build/worker.js")]
    return config


def on_files(files: Any, config: Any) -> Any:
    for page, content in site_pages.generated_pages().items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    return site_pages.site_markdown(markdown, page.file.src_uri)


def on_post_build(config: Any) -> None:
    if found := site_pages.outside_loads(Path(config.site_dir)):
        raise PluginError("expected a site that loads nothing from the network, found:\n" + "\n".join(found))
