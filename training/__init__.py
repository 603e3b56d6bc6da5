"""Training of the embedded `tiny` models on generated scenes."""
