"""Take a version of a language elsewhere, and take one in: as one file, or through the hub."""
