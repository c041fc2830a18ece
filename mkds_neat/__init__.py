"""Evolution of drivers for mkds_gym.

`mkds_neat.run` is the command. `mkds_neat.config` reads its file, `mkds_neat.evolution` is its
loop, and `mkds_neat.strategies`, `mkds_neat.evaluation` and `mkds_neat.results` are the parts.
"""

from importlib.util import find_spec as _find_spec

for _name in ("filelock", "jinja2", "matplotlib", "neat", "rich"):
    if _find_spec(_name) is None:
        raise ModuleNotFoundError(
            f"mkds_neat needs {_name}: pip install 'mkds-gym[neat]'", name=_name
        )
