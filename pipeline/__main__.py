"""``python -m pipeline`` and the console script ``pipeline`` are the same."""

from pipeline.cli.main import main

if __name__ == "__main__":
    main()
