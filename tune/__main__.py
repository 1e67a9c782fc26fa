"""Run ``python -m tune``: all commands, as ``spikeloom`` runs them."""

import sys

from tune.cli import main

sys.exit(main())
