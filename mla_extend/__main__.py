"""Run the command line with `python -m mla_extend`."""

from mla_extend.cli import main

if __name__ == "__main__":
    main()
