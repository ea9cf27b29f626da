"""`python -m flykeep` is `flykeep`."""

from flykeep.cli.main import main

if __name__ == "__main__":
    main()
