"""Print the lowest versions that pyproject.toml allows, as constraints for pip: python .ci/lowest.py > FILE"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in [*project["dependencies"], *extras["benchmarks"], *extras["test"]]:
    bound = re.fullmatch(r"([\w.-]+)>=([\d.]+)(,<[\d.]+)?", requirement)
    if bound is not None:  # what is left are this package's own extras
        print(f"{bound[1]}=={bound[2]}")
