"""`python -m gfnjax` is the `gfnjax` command."""

import sys

from gfnjax.cli import main

sys.exit(main())
