"""Tells the backend what runs here, and keeps telling it."""

from __future__ import annotations

from rover.reporter.reporter import Reporter
from rover.reporter.state import EntityState, Phase, ReporterState, SessionState, Standing

__all__ = ["EntityState", "Phase", "Reporter", "ReporterState", "SessionState", "Standing"]
