"""The race in the game's memory: where it lies, and what it means."""
