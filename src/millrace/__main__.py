"""`millrace`, and `python -m millrace`: the command in a process of its own."""

from typing import NoReturn

from millrace.control.running import process


def start() -> NoReturn:
    """Runs the command that was typed, and ends the process with its exit code."""
    process.begin()
    # Imported here: what is imported before the process has begun is looked through for cycles again and again.
    try:
        from millrace.cli.main import main
    except KeyboardInterrupt:
        # Ctrl-C before there is anything that could have words for it. Nothing had begun.
        process.end(130)
    process.end(main())


if __name__ == "__main__":
    start()
