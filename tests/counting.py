"""How much work a call is, counted in instructions of chainrule's own Python and not by a clock."""

import sys


def instructions(function, *arguments):
    """How many bytecode instructions of chainrule's files a call executes."""
    count = 0

    def inside(frame, event, argument):
        nonlocal count
        count += event == "opcode"
        return inside

    def enter(frame, event, argument):
        if "chainrule" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return inside

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count
