"""What may change in the config of a run that is resumed."""

from __future__ import annotations

import configparser
import io
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mkds_gym.utils.arguments import shown
from mkds_neat.config.settings import read_settings
from mkds_neat.config.strategies import NEAT, sections_of
from mkds_neat.errors import ConfigError

Sections = Mapping[str, Mapping[str, str]]

FIXED: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("strategy", "seed", "output"),
    "evaluation": (
        *("frames", "stuck", "wrong_way", "scorer", "episodes", "seeds", "courses", "starts"),
        *("combine", "rung_frames", "rung_episodes", "keep", "reevaluate"),
    ),
}
"""Keys that cannot change, by section. Nor can any of ``[environment]`` but ``rom``, whose contents
count. With other values, the fitness of later generations could not be compared. The sections of
strategies on the parameters of ``[mlp]`` are fixed as well, and ``feed_forward`` of ``neat``, with
which the networks of survivors would change."""


def config_changes(before: Sections, now: Sections) -> tuple[tuple[str, str, str], ...]:
    """Return the settings that have changed since a run was last saved.

    Args:
        before: Text of each value of the earlier config, by section and key, with all defaults.
        now: The same of the present config.

    Returns:
        Key with its section, earlier text and present text of each change.

    Raises:
        ConfigError: A setting has changed that cannot change.
    """
    old, new = _fixed(before), _fixed(now)
    _compare(old, new, {**old, **new})
    found = []
    for section in dict.fromkeys((*before, *now)):
        texts = before.get(section, {}), now.get(section, {})
        for key in dict.fromkeys((*texts[0], *texts[1])):
            old_text, new_text = texts[0].get(key, ""), texts[1].get(key, "")
            if old_text != new_text:
                found.append((f"{section}.{key}", old_text, new_text))
    return tuple(found)


def check_fixed(before: Sections, now: Sections) -> None:
    """Check a config before the code that it names is imported.

    Args:
        before: The earlier config, with all defaults and absolute paths.
        now: The present config as written. Its paths are not compared.

    Raises:
        ConfigError: A setting has changed that cannot change.
    """
    new = _fixed(now)
    _compare(_fixed(before), new, (key for key in new if key != ("environment", "state")))


def _compare(
    old: Mapping[tuple[str, str], Any],
    new: Mapping[tuple[str, str], Any],
    keys: Iterable[tuple[str, str]],
) -> None:
    for section, name in keys:
        values = old.get((section, name)), new.get((section, name))
        if values[0] != values[1]:
            raise ConfigError(
                f"[{section}] {name} = {shown(values[1])} cannot change in a resumed run, which "
                f"began with {shown(values[0])}: put the old value back, or start a new run"
            )


def _fixed(sections: Sections) -> dict[tuple[str, str], Any]:
    settings = read_settings(sections)
    found = {
        (section, key): getattr(getattr(settings, section), key)
        for section, keys in FIXED.items()
        for key in keys
    }
    for section in sections_of(settings.run.strategy):
        model = getattr(settings, section)
        if section == "mlp" or getattr(model, "fixed", False):
            found.update({(section, key): value for key, value in model})
    if settings.run.strategy == NEAT:
        text = sections.get("DefaultGenome", {}).get("feed_forward", "")
        found["DefaultGenome", "feed_forward"] = text.lower()
    found["environment", "id"] = settings.environment.id
    for key, value in settings.environment.arguments.items():
        if key != "rom":
            found["environment", key] = value
    return found


def sections_text(sections: Sections) -> str:
    """Return sections as the text of a config file."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(sections)
    file = io.StringIO()
    parser.write(file)
    return file.getvalue()
