"""The sample for Ray's cluster launcher is one that Ray takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.ray

SAMPLE = Path(__file__).resolve().parents[3] / "docs" / "cluster.yaml"


def test_sample_is_valid_by_rays_own_schema():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = yaml.safe_load(SAMPLE.read_text())
    validate_config(prepare_config(config))


def test_every_machine_shows_the_token_and_sends_nothing_anywhere():
    config = yaml.safe_load(SAMPLE.read_text())
    for name in ("head", "worker"):
        (start,) = [line for line in config[f"{name}_start_ray_commands"] if "ray start" in line]
        assert "RAY_AUTH_MODE=token" in start and "RAY_USAGE_STATS_ENABLED=0" in start
    assert "~/.ray/auth_token" in config["file_mounts"]
