"""`python -m medray.cli`."""

from medray.cli.main import main

if __name__ == "__main__":
    main()
