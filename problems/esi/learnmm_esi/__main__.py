"""Where the console script ``learnmm-esi`` begins, whether or not its extra is installed."""

from __future__ import annotations

import sys

from learnmm_esi.extras import needs_extra

__all__ = ["main"]


def main() -> None:
    """Run the command; end with code 1 and what to install if its packages are missing."""
    try:
        with needs_extra("esi"):
            from learnmm_esi.cli.app import app
    except ImportError as error:
        sys.exit(f"Error: learnmm-esi cannot start: {error}")
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows escapes rather than stop the command.
        stream.reconfigure(errors="backslashreplace")
    app(prog_name="learnmm-esi")


if __name__ == "__main__":
    main()
