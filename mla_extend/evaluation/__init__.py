"""Figures from vectors: ranks, recalls, intervals and reports. This room never asks where the vectors came from."""
