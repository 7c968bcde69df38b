"""What is read of executables and of perf maps, in a child: rows to unwind by, and names."""
