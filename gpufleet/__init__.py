"""gpufleet: the command line, and the one place that wires agent, SLO service, rules and boards together."""

__version__ = "0.1.0"
