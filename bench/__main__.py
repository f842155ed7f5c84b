"""`python -m bench` is the same as `bitfit-bench`."""

from bench.cli import main

if __name__ == "__main__":
    main()
