"""`python -m kubecore_cli`."""

import sys

from kubecore_cli.main import main

sys.exit(main())
