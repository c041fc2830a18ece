"""Themes: the colours of a course and the objects beside its road."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RGB = tuple[int, int, int]

COLOURS: Mapping[str, RGB] = {
    "road": (112, 112, 112),
    "slippery road": (150, 176, 196),
    "packed snow": (222, 230, 238),
    "boost": (236, 104, 20),
    "boost mark": (255, 232, 72),
    "jump": (32, 96, 214),
    "jump mark": (150, 222, 255),
    "line": (240, 240, 236),
    "light": (240, 240, 236),
    "dark": (34, 34, 34),
    "kerb": (206, 44, 40),
    "weak off-road": (176, 200, 96),
    "off-road": (222, 194, 128),
    "heavy off-road": (138, 98, 62),
    "bounds": (74, 110, 58),
    "wall": (70, 118, 196),
    "wall bend": (206, 44, 40),
    "wall top": (236, 238, 246),
    "terrain": (82, 156, 66),
    "shore": (222, 194, 128),
    "rock": (142, 122, 102),
    "water": (36, 100, 178),
    "shallows": (84, 168, 206),
    "tree": (36, 116, 52),
    "trunk": (112, 78, 48),
    "extra": (250, 250, 255),
    "sky top": (52, 124, 220),
    "sky bottom": (188, 222, 246),
    "hill": (72, 152, 104),
    "cloud": (255, 255, 255),
}
"""Colours (red, green, blue of 0 to 255) of the theme ``meadow``.

A description may replace them under ``[colours]``. ``light`` and ``dark`` are the paint of the
start line and of the gate's beam, ``wall bend`` is a wall on the outside of a bend, ``extra`` is
the second colour of objects: snow on a tree, a lamp's light, a window."""


@dataclass(frozen=True)
class Theme:
    """Colours that differ from `COLOURS`, and the objects beside the road.

    Attributes:
        colours: by name.
        objects: names in `scenery.OBJECTS`; repeat a name to make the object more frequent.
    """

    colours: Mapping[str, RGB]
    objects: tuple[str, ...]

    def palette(self) -> dict[str, RGB]:
        """Return all colours."""
        return {**COLOURS, **self.colours}


THEMES: Mapping[str, Theme] = {
    "meadow": Theme({}, ("conifer", "conifer", "conifer", "tree")),
    "autumn": Theme(
        {
            "road": (118, 108, 104),
            "kerb": (226, 132, 30),
            "weak off-road": (192, 168, 74),
            "off-road": (206, 160, 96),
            "heavy off-road": (120, 78, 46),
            "bounds": (110, 110, 40),
            "wall": (150, 48, 58),
            "wall bend": (226, 132, 30),
            "wall top": (240, 226, 196),
            "terrain": (158, 128, 54),
            "shore": (196, 150, 90),
            "water": (40, 84, 128),
            "shallows": (104, 150, 170),
            "tree": (206, 92, 28),
            "trunk": (88, 60, 44),
            "extra": (222, 168, 44),
            "sky top": (108, 140, 200),
            "sky bottom": (248, 220, 180),
            "hill": (176, 112, 60),
            "cloud": (255, 240, 224),
        },
        ("tree", "tree", "golden tree", "conifer"),
    ),
    "snow": Theme(
        {
            "road": (116, 124, 136),
            "line": (246, 200, 60),
            "kerb": (38, 92, 190),
            "weak off-road": (206, 218, 230),
            "off-road": (182, 204, 226),
            "heavy off-road": (146, 176, 208),
            "bounds": (120, 150, 186),
            "wall": (54, 132, 168),
            "wall bend": (196, 48, 60),
            "wall top": (250, 252, 255),
            "terrain": (240, 244, 250),
            "shore": (176, 204, 226),
            "rock": (128, 142, 162),
            "water": (64, 124, 166),
            "shallows": (164, 206, 226),
            "tree": (34, 90, 76),
            "trunk": (92, 70, 58),
            "sky top": (108, 158, 214),
            "sky bottom": (226, 236, 246),
            "hill": (196, 214, 234),
        },
        ("snowy conifer", "snowy conifer", "snowy conifer", "rock"),
    ),
    "desert": Theme(
        {
            "road": (136, 116, 96),
            "line": (246, 236, 208),
            "kerb": (178, 66, 36),
            "weak off-road": (214, 178, 110),
            "off-road": (236, 204, 140),
            "heavy off-road": (170, 122, 76),
            "bounds": (150, 104, 62),
            "wall": (186, 96, 52),
            "wall bend": (60, 150, 150),
            "wall top": (246, 224, 180),
            "terrain": (226, 190, 122),
            "shore": (238, 210, 150),
            "rock": (180, 112, 72),
            "water": (212, 172, 108),
            "shallows": (238, 206, 142),
            "tree": (70, 130, 66),
            "trunk": (150, 92, 60),
            "extra": (196, 124, 80),
            "sky top": (60, 140, 216),
            "sky bottom": (252, 226, 176),
            "hill": (204, 138, 88),
            "cloud": (255, 246, 226),
        },
        ("cactus", "cactus", "rock", "mesa"),
    ),
    "night": Theme(
        {
            "road": (70, 72, 92),
            "line": (250, 226, 90),
            "kerb": (240, 60, 150),
            "weak off-road": (52, 84, 78),
            "off-road": (96, 84, 106),
            "heavy off-road": (74, 54, 58),
            "bounds": (28, 42, 58),
            "wall": (28, 150, 190),
            "wall bend": (226, 40, 140),
            "wall top": (176, 186, 226),
            "terrain": (34, 60, 62),
            "shore": (58, 62, 86),
            "rock": (64, 62, 84),
            "water": (12, 20, 54),
            "shallows": (30, 50, 96),
            "tree": (58, 60, 92),
            "trunk": (80, 84, 104),
            "extra": (255, 236, 150),
            "sky top": (8, 10, 36),
            "sky bottom": (64, 56, 112),
            "hill": (24, 28, 62),
            "cloud": (72, 72, 116),
        },
        ("lamp", "lamp", "tower", "tower"),
    ),
    "volcano": Theme(
        {
            "road": (88, 80, 80),
            "line": (246, 214, 150),
            "kerb": (250, 150, 20),
            "weak off-road": (122, 92, 78),
            "off-road": (146, 108, 84),
            "heavy off-road": (92, 50, 40),
            "bounds": (70, 36, 34),
            "wall": (146, 40, 30),
            "wall bend": (246, 140, 24),
            "wall top": (190, 176, 166),
            "terrain": (76, 62, 60),
            "shore": (120, 52, 34),
            "rock": (72, 58, 56),
            "water": (222, 62, 12),
            "shallows": (255, 162, 40),
            "tree": (62, 52, 50),
            "trunk": (58, 46, 44),
            "extra": (255, 120, 30),
            "sky top": (58, 24, 34),
            "sky bottom": (226, 110, 60),
            "hill": (70, 34, 36),
            "cloud": (120, 74, 70),
        },
        ("rock", "rock", "dead tree", "ember"),
    ),
    "beach": Theme(
        {
            "road": (150, 146, 138),
            "kerb": (20, 156, 164),
            "weak off-road": (150, 196, 92),
            "off-road": (248, 226, 160),
            "heavy off-road": (196, 160, 104),
            "bounds": (206, 180, 120),
            "wall": (24, 160, 170),
            "wall bend": (244, 116, 92),
            "terrain": (244, 220, 150),
            "shore": (252, 236, 188),
            "rock": (206, 176, 126),
            "water": (0, 128, 190),
            "shallows": (84, 220, 214),
            "tree": (44, 150, 70),
            "trunk": (150, 110, 66),
            "sky top": (20, 130, 236),
            "sky bottom": (190, 238, 255),
            "hill": (60, 168, 120),
        },
        ("palm", "palm", "palm", "rock"),
    ),
    "sky": Theme(
        {
            "road": (154, 132, 186),
            "line": (255, 252, 206),
            "kerb": (255, 116, 170),
            "weak off-road": (196, 178, 226),
            "off-road": (170, 206, 236),
            "heavy off-road": (126, 132, 196),
            "bounds": (120, 108, 178),
            "wall": (110, 80, 196),
            "wall bend": (255, 116, 170),
            "wall top": (250, 244, 255),
            "terrain": (200, 190, 240),
            "shore": (236, 226, 252),
            "rock": (150, 134, 196),
            "water": (206, 222, 248),
            "shallows": (250, 250, 255),
            "tree": (120, 220, 236),
            "trunk": (150, 130, 200),
            "extra": (255, 180, 226),
            "sky top": (84, 96, 206),
            "sky bottom": (250, 206, 226),
            "hill": (190, 190, 236),
        },
        ("crystal", "crystal", "rose crystal"),
    ),
}
"""Themes by name."""
