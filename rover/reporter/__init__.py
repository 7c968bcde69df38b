"""Tells the backend what runs here, and keeps telling it.

`rover.reporter.reporter` does it, `rover.reporter.state` is what it tells of itself. Nothing is
imported here, so that who reads the latter has no gRPC with it.
"""
