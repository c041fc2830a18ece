"""Run ``python -m mkds_gym.drivers``."""

from mkds_gym.drivers.timing import main
from mkds_gym.utils.command_line import run_command

if __name__ == "__main__":
    run_command(main)
