"""One self-contained page about a run: what it holds, where to look first, what changed."""
