"""Benchmarks: figures that anyone can measure again, on seeds that nothing else uses."""
