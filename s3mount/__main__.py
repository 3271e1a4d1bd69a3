"""`python -m s3mount` is the command `s3mount`."""

from s3mount.cli.main import main

if __name__ == "__main__":
    main()
