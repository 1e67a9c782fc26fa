"""All targets, by name."""

from __future__ import annotations

import itertools

from .cache_targets import cache_targets
from .folder_targets import folder_targets
from .frame_file_targets import frame_file_targets
from .raw_format_targets import raw_format_targets
from .run_targets import run_targets
from .search_targets import search_targets
from .target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in itertools.chain(
        raw_format_targets(), cache_targets(), frame_file_targets(), folder_targets(), run_targets(), search_targets()
    )
}
