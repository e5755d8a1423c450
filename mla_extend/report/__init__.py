"""HTML pages for people: a registry's languages, and what the data checks found. Nothing here imports torch."""
