"""Hostile neighbours: what another user of the host can do to an agent that looks at everything.

Each kind is a program of its own, ``python -m bench.neighbours KIND --seconds N --seed N``, that
gives up root where its kind needs none, does as badly as it can until its time is over, and takes
all that it started with it.
"""
