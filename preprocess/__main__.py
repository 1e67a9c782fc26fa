"""Run ``python -m preprocess``: the commands up to the caches."""

import sys

from preprocess.cli import main

sys.exit(main())
