"""Drive yourself: ``python -m mkds_gym.play``."""
