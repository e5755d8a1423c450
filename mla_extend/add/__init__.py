"""The main job: a language is added to a base."""
