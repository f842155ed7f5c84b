"""How a cell runs and is measured: suites, cells, records, tasks, models, the loop and the instruments."""

__version__ = "0.1.0"
