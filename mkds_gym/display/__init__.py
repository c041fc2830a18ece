"""Windows on the console's screens, and video files."""
