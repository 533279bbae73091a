"""`python -m chainrule`: the command line, where the `chainrule` command is not on the path."""

from .commands import main

if __name__ == "__main__":
    main(prog_name="python -m chainrule")
