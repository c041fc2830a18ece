"""The command lines of this package."""

from __future__ import annotations

import argparse
from typing import NoReturn

from mkds_gym.utils.arguments import shortened


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and shorten long arguments."""

    def error(self, message: str) -> NoReturn:
        """Print the message, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {shortened(message, 1000)}; --help lists the options\n")
