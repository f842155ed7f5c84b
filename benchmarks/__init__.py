"""Benchmarks of this project's own hot paths. Their threads wait as those of the program do."""

from bench.waiting import wait_quietly

wait_quietly()
