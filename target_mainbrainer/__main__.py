"""`python -m target_mainbrainer` is the command `target-mainbrainer`."""

from target_mainbrainer.cli import main

if __name__ == "__main__":
    main()
