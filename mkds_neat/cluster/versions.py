"""What must be equal on all machines of a run."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path

import mkds_gym
import mkds_neat
from mkds_gym.emulator.desmume.loader import installed_build_id


@functools.cache
def versions() -> dict[str, str]:
    """Return what must be equal on all nodes, so that results are."""
    sources = hashlib.sha256()
    for package in (mkds_gym, mkds_neat):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            sources.update(path.relative_to(folder).as_posix().encode())
            sources.update(path.read_bytes())
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "mkds-gym": f"{mkds_gym.__version__} (sources {sources.hexdigest()[:12]})",
        "emulator": installed_build_id()[:12],
        **{name: importlib.metadata.version(name) for name in ("numpy", "embreex", "gymnasium")},
    }


def difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Return how the versions of a process differ from those that are expected."""
    return ", ".join(
        f"{name} {found.get(name, 'is missing')} instead of {version}"
        for name, version in expected.items()
        if found.get(name) != version
    )
