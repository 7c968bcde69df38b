"""A host agent for Apache SkyWalking: which processes run here, told the moment they start."""

__version__ = "0.1.0"
