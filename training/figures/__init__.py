"""Figures of the embedded models on scenes they have never seen."""
