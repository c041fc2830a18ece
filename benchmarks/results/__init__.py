"""The measurements behind docs/results: all strategies and PPO on equal budgets of frames."""
