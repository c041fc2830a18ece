"""Evolution of drivers for mkds_gym.

`mkds_neat.run` is the command. `mkds_neat.config` reads its file, `mkds_neat.evolution` is its
loop, and `mkds_neat.strategies`, `mkds_neat.evaluation` and `mkds_neat.results` are the parts.
"""
