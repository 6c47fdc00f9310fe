"""Where the console script ``learnmm-esi`` begins."""

from __future__ import annotations

import io
import sys

from learnmm_esi.cli.app import app

__all__ = ["main"]


def main() -> None:
    """Run the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding shows escapes rather than stop the command.
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="learnmm-esi")


if __name__ == "__main__":
    main()
