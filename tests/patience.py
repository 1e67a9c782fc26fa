"""How long tests wait for another process."""

from __future__ import annotations

PATIENCE_S = 600.0
"""It only bounds a hang: a machine that does much else may take minutes for what takes seconds."""

QUICK_S = 45.0
"""At most what a refusal takes, on a busy machine; what it comes before would take Ray minutes."""
