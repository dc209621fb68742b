"""python -m hhvad."""

import sys

from hhvad.cli import main

sys.exit(main())
