"""`python -m target_mainbrainer` is the command `target-mainbrainer`."""

from target_mainbrainer.target import TargetMainBrainer

if __name__ == "__main__":
    TargetMainBrainer.cli()
