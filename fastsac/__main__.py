"""`python -m fastsac`, the same as the `fastsac` command."""

import os
import sys


def leave_working_directory() -> None:
    """Undo that Python looks for modules in the working directory first.

    A file in it must not stand for a module of the standard library or of a package.  Where fastsac itself was found
    through it, in a checkout, it comes last.
    """
    if sys.flags.safe_path or os.path.abspath(sys.path[0]) != os.getcwd():
        return
    here = sys.path.pop(0)
    if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) == os.path.abspath(here):
        sys.path.append(here)


if __name__ == "__main__":
    leave_working_directory()
    from fastsac.cli.main import main

    sys.exit(main())
