"""One process's whole story, for whoever asks why it is shown so or not at all."""

from rover.explain.entities import explain, listed
from rover.explain.question import Question, ask_of
from rover.explain.story import Explainer

__all__ = ["Explainer", "Question", "ask_of", "explain", "listed"]
