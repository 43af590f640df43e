"""``python -m csg``."""

import sys

from csg.cli import main

sys.exit(main())
