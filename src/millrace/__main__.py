"""`millrace`, and `python -m millrace`: the command in a process of its own."""

from typing import NoReturn

from millrace.control import process


def start() -> NoReturn:
    """Runs the command that was typed, and ends the process with its exit code."""
    process.begin()
    # Imported here: what is imported before the process has begun is looked through for cycles again and again.
    from millrace.cli.main import main

    process.end(main())


if __name__ == "__main__":
    start()
