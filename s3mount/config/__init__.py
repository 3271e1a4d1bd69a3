"""Options: what there are, how their values are written, and which place wins.

`MountOptions` is the one table from which flags, variables, names in files and the documentation
are derived; `resolve` turns what people wrote into it. It imports errors only and knows nothing of
stores, caches or mounts. Values and plain functions.
"""

from s3mount.config.options import OPTIONS, MountOptions, Option
from s3mount.config.sources import as_flags, resolve, split_o

__all__ = ["OPTIONS", "MountOptions", "Option", "as_flags", "resolve", "split_o"]
