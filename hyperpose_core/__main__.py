"""`python -m hyperpose_core` is the `hyperpose` command."""

from hyperpose_core.cli.main import main

raise SystemExit(main())
