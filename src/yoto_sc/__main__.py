"""``python -m yoto_sc`` is ``yoto-sc``."""

import sys

from yoto_sc.cli import main

sys.exit(main())
