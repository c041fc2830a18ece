"""Many environments in one process."""
