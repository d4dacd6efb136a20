"""Run ``python -m oktawatch``, the same as ``oktawatch``."""

import sys

from oktawatch.cli.main import main

sys.exit(main())
