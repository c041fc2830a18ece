"""The state of a console: in memory, in files, and tried before it is loaded."""
