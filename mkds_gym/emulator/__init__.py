"""One emulated Nintendo DS: cartridge, console, savestates. Knows nothing of karts."""
