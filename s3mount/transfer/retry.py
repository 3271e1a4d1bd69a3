"""Whether and when a failed request is made again: plain functions, the clock and the dice are passed in.

The delays are "full jitter" (a uniform draw below an exponential ceiling), which clears a congested server fastest with
the fewest calls: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
"""

from typing import NamedTuple

from s3mount.errors import StoreError, Throttled


class RetryPolicy(NamedTuple):
    """How patient to be.

    Attributes:
        first: ceiling of the first delay, seconds.
        ceiling: ceiling of every delay, seconds.
        patience: seconds since the last progress after which a request is given up.
    """

    first: float = 0.05
    ceiling: float = 2.0
    patience: float = 20.0


THROTTLED_FIRST = 0.2
"""Seconds: a store that says SlowDown means it; S3 scales a prefix over seconds, not milliseconds."""


def next_delay(
    policy: RetryPolicy, error: StoreError, *, attempt: int, idle: float, draw: float
) -> float | None:
    """Seconds to wait before trying again, None to give up.

    Args:
        policy: how patient to be.
        error: what went wrong.
        attempt: how often it has failed in a row, from 1.
        idle: seconds since the request began or last brought a byte.
        draw: a number drawn uniformly from 0 to 1.
    """
    if not error.retryable:
        return None
    first = THROTTLED_FIRST if isinstance(error, Throttled) else policy.first
    # 2**30 is over any ceiling; a larger exponent would only overflow.
    # A pause longer than a quarter of the patience would end it early with an unlucky draw.
    ceiling = min(policy.ceiling, policy.patience / 4)
    delay = draw * min(ceiling, first * 2.0 ** min(attempt - 1, 30))
    return delay if idle + delay < policy.patience else None
