"""One process's whole story, for whoever asks why it is shown so or not at all.

`rover.explain.story` tells it, `rover.explain.entities` the part that a list needs, to what
`rover.explain.question` asks. Nothing is imported here, so that each costs only whom it serves.
"""
