"""Run ``python -m pipeline``: the commands from caches to evaluated networks."""

import sys

from pipeline.cli import main

sys.exit(main())
