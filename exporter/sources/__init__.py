"""Where readings come from: the only I/O of the agent."""
