"""What Fly asks for what a restore keeps, in US dollars.

Source: Fly's pricing page, as of August 2026. Estimates only: Fly's bill decides.
"""

from __future__ import annotations

VOLUME_PER_GB_MONTH = 0.15  # provisioned, attached or not, running or not
SNAPSHOT_PER_GB_MONTH = 0.08  # stored, beyond the free ones
SNAPSHOT_FREE_GB = 10


def volume_per_month(size_gb: int) -> float:
    """What a volume costs for a month, whatever it holds."""
    return round(size_gb * VOLUME_PER_GB_MONTH, 2)
