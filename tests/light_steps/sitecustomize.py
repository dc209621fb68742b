"""Python imports this at its start. In the workflow tests, light steps have no torch to import.

HHVAD_TEST_LIGHT: the commands of rules whose environment is envs/light.yaml, by commas.
"""

import os
import sys

HEAVY = {"torch", "transformers", "tokenizers", "jinja2", "snakemake"}


class _Absent:
    """A finder before all others, which finds none of `HEAVY`."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"{name} is not in envs/light.yaml", name=name)


_words = sys.orig_argv[1:4]
if "hhvad" in "".join(_words) and set(_words) & set(
    os.environ.get("HHVAD_TEST_LIGHT", "").split(",")
):
    sys.meta_path.insert(0, _Absent)
