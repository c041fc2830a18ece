"""Themes: the colours of a course and the objects beside its road."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RGB = tuple[int, int, int]

_COLOURS = """
               meadow  autumn  snow    desert  night   volcano beach   sky
road           707070  766c68  747c88  887460  46485c  585050  96928a  9a84ba
slippery road  96b0c4  -       -       -       -       -       -       -
packed snow    dee6ee  -       -       -       -       -       -       -
boost          ec6814  -       -       -       -       -       -       -
boost mark     ffe848  -       -       -       -       -       -       -
jump           2060d6  -       -       -       -       -       -       -
jump mark      96deff  -       -       -       -       -       -       -
line           f0f0ec  -       f6c83c  f6ecd0  fae25a  f6d696  -       fffcce
light          f0f0ec  -       -       -       -       -       -       -
dark           222222  -       -       -       -       -       -       -
kerb           ce2c28  e2841e  265cbe  b24224  f03c96  fa9614  149ca4  ff74aa
weak off-road  b0c860  c0a84a  cedae6  d6b26e  34544e  7a5c4e  96c45c  c4b2e2
off-road       dec280  cea060  b6cce2  eccc8c  60546a  926c54  f8e2a0  aaceec
heavy off-road 8a623e  784e2e  92b0d0  aa7a4c  4a363a  5c3228  c4a068  7e84c4
bounds         4a6e3a  6e6e28  7896ba  96683e  1c2a3a  462422  ceb478  786cb2
wall           4676c4  96303a  3684a8  ba6034  1c96be  92281e  18a0aa  6e50c4
wall bend      ce2c28  e2841e  c4303c  3c9696  e2288c  f68c18  f4745c  ff74aa
wall top       eceef6  f0e2c4  fafcff  f6e0b4  b0bae2  beb0a6  -       faf4ff
terrain        529c42  9e8036  f0f4fa  e2be7a  223c3e  4c3e3c  f4dc96  c8bef0
shore          dec280  c4965a  b0cce2  eed296  3a3e56  783422  fcecbc  ece2fc
rock           8e7a66  -       808ea2  b47048  403e54  483a38  ceb07e  9686c4
water          2464b2  285480  407ca6  d4ac6c  0c1436  de3e0c  0080be  cedef8
shallows       54a8ce  6896aa  a4cee2  eece8e  1e3260  ffa228  54dcd6  fafaff
tree           247434  ce5c1c  225a4c  468242  3a3c5c  3e3432  2c9646  78dcec
trunk          704e30  583c2c  5c463a  965c3c  505468  3a2e2c  966e42  9682c8
extra          fafaff  dea82c  -       c47c50  ffec96  ff781e  -       ffb4e2
sky top        347cdc  6c8cc8  6c9ed6  3c8cd8  080a24  3a1822  1482ec  5460ce
sky bottom     bcdef6  f8dcb4  e2ecf6  fce2b0  403870  e26e3c  beeeff  facee2
hill           489868  b0703c  c4d6ea  cc8a58  181c3e  462224  3ca878  bebeec
cloud          ffffff  fff0e0  -       fff6e2  484874  784a46  -       -
"""
# Colours of the themes as RRGGBB; a hyphen is the colour of the theme meadow.

_OBJECTS = {
    "meadow": ("conifer", "conifer", "conifer", "tree"),
    "autumn": ("tree", "tree", "golden tree", "conifer"),
    "snow": ("snowy conifer", "snowy conifer", "snowy conifer", "rock"),
    "desert": ("cactus", "cactus", "rock", "mesa"),
    "night": ("lamp", "lamp", "tower", "tower"),
    "volcano": ("rock", "rock", "dead tree", "ember"),
    "beach": ("palm", "palm", "palm", "rock"),
    "sky": ("crystal", "crystal", "rose crystal"),
}


@dataclass(frozen=True)
class Theme:
    """Colours and objects of a course.

    Attributes:
        colours: red, green and blue of 0 to 255, by name. ``light`` and ``dark`` are the paint of
            the start line and of the gate's beam, ``wall bend`` is a wall on the outside of a bend,
            ``extra`` is the second colour of objects: snow on a tree, a lamp's light, a window.
        objects: names in `scenery.OBJECTS`; a repeated name is more frequent.
    """

    colours: Mapping[str, RGB]
    objects: tuple[str, ...]


def _themes() -> dict[str, Theme]:
    names, *rows = _COLOURS.strip("\n").splitlines()
    palettes: dict[str, dict[str, RGB]] = {theme: {} for theme in names.split()}
    for row in rows:
        colour, values = row[:15].strip(), row[15:].split()
        for palette, value in zip(palettes.values(), values, strict=True):
            red, green, blue = bytes.fromhex(values[0] if value == "-" else value)
            palette[colour] = red, green, blue
    return {theme: Theme(palette, _OBJECTS[theme]) for theme, palette in palettes.items()}


THEMES: Mapping[str, Theme] = _themes()
"""Themes by name."""

COLOURS: Mapping[str, RGB] = THEMES["meadow"].colours
"""Colours of the theme ``meadow``; a description may replace them under ``[colours]``."""
