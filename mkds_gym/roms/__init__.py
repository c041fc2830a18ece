"""Imported cartridges: ``python -m mkds_gym.roms import FILE``, then ``rom="NAME"``."""

from mkds_gym.roms.library import BUNDLED_NAME, ImportedRom, find, imported, is_imported

__all__ = ["BUNDLED_NAME", "ImportedRom", "find", "imported", "is_imported"]
