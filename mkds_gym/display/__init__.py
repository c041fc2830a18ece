"""Windows and video files."""
