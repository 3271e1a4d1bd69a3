"""What is known of how a server takes writes; kept apart from them, for those who only read are not to load them."""


class Manners:
    """How one server takes writes, as far as is known; shared by all writes of a store.

    Attributes:
        takes_checksums: False once it has refused one and then taken the same write without it.
        takes_condition: whether it is known to heed ``If-None-Match``.
    """

    __slots__ = ("takes_checksums", "takes_condition")

    def __init__(self, *, takes_condition: bool) -> None:
        self.takes_checksums = True
        self.takes_condition = takes_condition
