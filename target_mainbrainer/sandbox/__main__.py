"""`python -m target_mainbrainer.sandbox` is `mainbrainer-sandbox`."""

import sys

from target_mainbrainer.sandbox.command import main

sys.exit(main())
