"""Profiling of reported processes: what is asked for, what is sampled, what is sent."""
