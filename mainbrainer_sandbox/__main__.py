"""`python -m mainbrainer_sandbox` is `mainbrainer-sandbox`."""

import sys

from mainbrainer_sandbox.command import main

sys.exit(main())
