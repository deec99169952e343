"""The shell: the outermost application, the doors, the server, drain, health."""
