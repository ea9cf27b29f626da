"""The program: `flykeep`, and `python -m flykeep`."""

import sys


def main() -> None:
    """The console script. What runs every few seconds on a small machine starts without the rest of the program."""
    from flykeep.cli import standing  # noqa: PLC0415

    if standing.is_meant(sys.argv[1:]):
        sys.exit(standing.run(sys.argv[2:]))
    from flykeep.cli.main import main as run_command_line  # noqa: PLC0415

    run_command_line()


if __name__ == "__main__":
    main()
