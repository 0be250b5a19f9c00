"""The `with` blocks that a running frame is inside, read from its bytecode."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType
    from typing import Any

LEASE, LEASE_ASYNC, VARIABLE, OTHER = "lease", "lease_async", "variable", "other"
"""What a block is entered with: a call of `lease` or `try_lease`, one of `lease_async`, a local variable, the rest."""

_BY_NAME = {"lease": LEASE, "try_lease": LEASE, "lease_async": LEASE_ASYNC}
_SETTING_UP = {"SETUP_WITH", "SETUP_ASYNC_WITH"}
"""What begins a `with` block, until Python 3.10."""
_ENTERING = {"BEFORE_WITH", "BEFORE_ASYNC_WITH", "LOAD_SPECIAL", "SETUP_WITH"}
_BETWEEN = {"COPY", "SWAP", "LOAD_SPECIAL", "CACHE", "EXTENDED_ARG"}
"""What may stand between the expression of a `with` and the instruction that enters it."""
_STATEMENT_ENDS = (
    "BEFORE",
    "FOR_ITER",
    "JUMP",
    "NOP",
    "POP",
    "PUSH_EXC",
    "RERAISE",
    "RESUME",
    "RETURN",
    "SETUP",
    "STORE",
)
"""How the names of instructions begin that are in no expression before a `with`."""


def callers(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and its callers, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def with_blocks(frame: FrameType) -> list[str]:
    """List the `with` blocks that a running frame is inside, the innermost first, by what each was entered with.

    Where the bytecode is not understood, the list is too short.
    """
    code = frame.f_code
    if not _has_with_block(code):
        return []
    import dis

    instructions = list(dis.get_instructions(code))
    found = []
    for begin in _begins(code, instructions, frame.f_lasti):
        before = [index for index, step in enumerate(instructions) if step.offset < begin and step.opname in _ENTERING]
        if before:
            found.append(_entered_with(instructions[: before[-1] + 1]))
    return found


def _has_with_block(code: CodeType) -> bool:
    """Return whether there is a `with` block in the code: a quick look, for most have none."""
    import opcode

    return opcode.opmap["WITH_EXCEPT_START"] in code.co_code[::2]


def _begins(code: CodeType, instructions: list[Any], at: int) -> Iterator[int]:
    """Yield where each `with` block begins that the instruction at the offset `at` is in, the innermost first."""
    if not hasattr(code, "co_exceptiontable"):  # until Python 3.10
        for index in reversed(range(len(instructions))):
            step = instructions[index]
            if step.opname in _SETTING_UP and step.offset < at < step.argval:
                # An `async with` awaits `__aenter__` between the expression and the block.
                while step.opname == "SETUP_ASYNC_WITH" and instructions[index].opname != "BEFORE_ASYNC_WITH":
                    index -= 1
                yield instructions[index].offset + 1
        return
    import dis

    table: list[Any] = getattr(dis, "_parse_exception_table", lambda _: [])(code)
    names = {step.offset: step.opname for step in instructions}
    handlers = {entry.target for entry in table if names.get(entry.target + 2) == "WITH_EXCEPT_START"}
    seen: set[int] = set()
    while True:
        target = next((entry.target for entry in table if entry.start <= at < entry.end), None)
        if target is None or target in seen:
            return
        seen.add(target)
        if target in handlers:
            yield min(entry.start for entry in table if entry.target == target)
        at = target  # the next handler outside is that of this one


def _entered_with(instructions: list[Any]) -> str:
    """Return what the last of `instructions`, which enters a `with` block, enters it with."""
    instructions = instructions[:-1]
    while instructions and instructions[-1].opname in _BETWEEN:
        instructions.pop()
    expression: list[Any] = []
    for step in reversed(instructions):
        # An instruction that stores may load as well: `STORE_FAST_LOAD_FAST`.
        if not step.opname.startswith(_STATEMENT_ENDS) or (not expression and step.opname.endswith("LOAD_FAST")):
            expression.append(step)
        if step.opname.startswith(_STATEMENT_ENDS):
            break
    if len(expression) == 1 and "LOAD_FAST" in expression[0].opname:
        return VARIABLE
    if not expression or not expression[0].opname.startswith("CALL"):
        return OTHER
    named = [_BY_NAME[step.argval] for step in expression if isinstance(step.argval, str) and step.argval in _BY_NAME]
    return named[0] if named else OTHER
