"""The parts of perf/compare: the rows, how they are run, and what is made of the results."""
