"""Figures from vectors: ranks, recalls, intervals and reports. Only `evaluate.py` and `compare.py` encode."""
