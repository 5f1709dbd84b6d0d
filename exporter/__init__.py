"""The node agent: reads GPUs and inference engines, and exposes both.

Above it only model, metrics and page are visible.
"""
