"""The kernel's events: programs that let processes settle, and the maps they leave them in."""
