"""The FUSE edge: kernel requests in, replies out."""
