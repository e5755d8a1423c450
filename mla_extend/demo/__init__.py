"""The demo: a base of free parts, and data for it in some 170 languages."""
