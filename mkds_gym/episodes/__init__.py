"""Where an episode starts: races, race starts, cloned states."""
