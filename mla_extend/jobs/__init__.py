"""Many languages in one go: a plan, a process for each language, and what was done kept beside the registry."""
