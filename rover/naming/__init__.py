"""What a process is called: the entities that finders and analyzers give it."""
