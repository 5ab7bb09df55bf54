"""`python -m impact` is the command line."""

import sys

from impact.cli import main

sys.exit(main())
