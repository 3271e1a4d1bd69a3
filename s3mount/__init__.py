"""s3mount: a read-through artifact filesystem for S3."""

__version__ = "0.1.0"
