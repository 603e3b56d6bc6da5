"""Exports of a run: records in, a folder per format out, a class per format. No model is needed."""
