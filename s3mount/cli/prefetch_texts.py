"""The words of a prefetch's end, beside those of its display. Plain functions over a `Ledger`."""

import json
from typing import TYPE_CHECKING

from s3mount.cli import human

if TYPE_CHECKING:
    from s3mount.bulk.ledger import Ledger


def plan(ledger: "Ledger", *, as_json: bool) -> str:
    """What a dry run has found out."""
    room = max(0, ledger.room or 0)
    if as_json:
        fields = {
            "objects": ledger.objects,
            "bytes": ledger.size,
            "missing_bytes": ledger.missing,
            "cost_bytes": ledger.cost,
            "room_bytes": room,
            "fits": ledger.fits,
        }
        return json.dumps({"plan": fields})
    what = f"{human.count(ledger.objects, 'object')}, {human.size(ledger.size)}"
    missing = f"{human.size(ledger.missing)} to fetch"
    needs = f"it takes {human.size(ledger.cost)} of disk, and there is room for {human.size(room)}"
    advice = "" if ledger.fits else "\n  raise --cache-size, or select less"
    return f"{what}, {missing}\n{'it fits' if ledger.fits else 'it does not fit'}: {needs}{advice}"
