"""Settings: the file, environment variables and flags become one frozen tree, templates compiled.

`rover.config.load` reads them, `rover.config.settings` is the tree, `rover.gotemplate` the
language of names and filters. Nothing is imported here, so that each costs only whom it serves.
"""
