"""Adapters on disk: cards, versions, publishing, verification and the proof of isolation. Knows no training."""
