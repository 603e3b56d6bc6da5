"""How much memory this process has taken at most."""

from __future__ import annotations

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def megabytes() -> dict[str, int]:
    """By kind, `RAM` and `GPU memory`; what cannot be told here is left out."""
    peak = {}
    if resource is not None:
        in_bytes = sys.platform == "darwin"  # elsewhere in units of 1024 bytes
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak["RAM"] = round(most * (1 if in_bytes else 1024) / 1e6)
    torch = sys.modules.get("torch")  # where it was not loaded, no GPU was used
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peak["GPU memory"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return peak
