"""A simulated fleet that enters through the same doors as a real one: a driver and engines' pages, never a source.

Imports exporter.model and exporter.metrics at most. See README.md in this folder.
"""
