"""Replays the recorded answers of the original modules against what is installed.

Standard library only: the wheel check runs this file where no development package is. `python replay.py` replays
everything and ends with a line of counts; from a test, `for case in cases(NAME): assert mismatch(NAME, case) is None`.
"""

import json
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

HERE = Path(__file__).resolve().parent
Case = dict[str, Any]

# The recordings were made with these tables. An older interpreter does not know some of the characters yet, and a newer
# one knows some that were none then.
RECORDED_UNICODE = (14, 0, 0)
RUNNING_UNICODE = tuple(int(part) for part in unicodedata.unidata_version.split("."))


def outcome(call: Callable[[], Any]) -> Case:
    """What a call returned or raised, in the form of the recordings."""
    try:
        return {"returns": call()}
    except Exception as error:
        return {"raises": type(error).__name__, "message": str(error)}


def difference(recorded: Case, now: Case) -> Optional[str]:
    """What differs between a recorded outcome and today's, or None. Types count: `1`, `1.0` and `True` are three."""
    if "raises" in recorded:
        if now.get("raises") != recorded["raises"]:
            return f"raised {recorded['raises']}, now {now!r}"
        said, message = recorded.get("message"), now["message"]
        # From 3.14 on the interpreter wraps some of its own messages into longer ones.
        if said is None or said == message or (sys.version_info >= (3, 14) and said in message):
            return None
        return f"said {said!r}, now {message!r}"
    if "returns" in now and repr(now["returns"]) == repr(recorded["returns"]):
        return None
    return f"returned {recorded['returns']!r}, now {now!r}"


def value(case: Case, name: str) -> Any:
    """An argument of a case: itself, or an expression where JSON has no word for it."""
    return case[name] if name in case else eval(case[name + "_expr"])


def plainly(text: str) -> bool:
    """Whether a text is a palindrome, by the tables of this interpreter."""
    kept = "".join(char for char in text if char.isalnum()).lower()
    return kept == kept[::-1]


def has_changed(text: str, recorded: bool) -> bool:
    """Whether a recorded answer can be explained by a character that only one of the two tables knows."""
    if RUNNING_UNICODE < RECORDED_UNICODE:
        return any(unicodedata.category(char) == "Cn" for char in text)
    young = {char for char in text if unicodedata.ucd_3_2_0.category(char) == "Cn"}
    return RUNNING_UNICODE > RECORDED_UNICODE and any(plainly(text.replace(char, "")) is recorded for char in young)


def palindrome_case(case: Case) -> Optional[str]:
    """Asks once."""
    from algorithms.palindrome import Solution

    text = value(case, "input")
    now = outcome(lambda: Solution().is_palindrom(text))
    found = difference(case, now)
    if found and "returns" in case and has_changed(text, case["returns"]):
        return difference({"returns": plainly(text)}, now)
    return found


def triplets_case(case: Case) -> Optional[str]:
    """Asks once, and looks at the list afterwards: it is sorted in place."""
    from algorithms.triplets import Solution

    numbers = value(case, "input")
    if isinstance(numbers, list):
        numbers = list(numbers)
    found = difference(case, outcome(lambda: Solution().get_triplets(numbers)))
    if found is None and "input_after" in case and repr(numbers) != repr(case["input_after"]):
        return f"left {case['input_after']!r} behind, now {numbers!r}"
    return found


def objectmgr_case(case: Case) -> Optional[str]:
    """Makes one manager and walks through its trace, its odd argument, or its odd size."""
    from design.objectmgr import ObjectMgr

    if "n_expr" in case:
        recorded = case if "raises" in case else {"returns": "ObjectMgr"}
        return difference(recorded, outcome(lambda: type(ObjectMgr(value(case, "n"))).__name__))
    manager = ObjectMgr(case["n"])
    if "free_expr" in case:
        for expected in case["allocated"]:
            if manager.get_object() != expected:
                return f"did not give {expected}"
        return difference(case, outcome(lambda: manager.free_object(eval(case["free_expr"]))))
    for step, operation in enumerate(case["ops"]):
        arguments = [operation["obj"]] if "obj" in operation else []
        found = difference(operation, outcome(lambda: getattr(manager, operation["op"])(*arguments)))  # noqa: B023
        if found:
            return f"step {step}, {operation['op']}({', '.join(map(str, arguments))}): {found}"
    if sorted(manager.allocated_objects) != sorted(case["allocated_after"]):
        return f"left {case['allocated_after']} allocated, now {sorted(manager.allocated_objects)}"
    return None


RECORDINGS: dict[str, Callable[[Case], Optional[str]]] = {
    "objectmgr": objectmgr_case,
    "palindrome": palindrome_case,
    "triplets": triplets_case,
}


def recorded_cases(name: str) -> Any:
    """What was recorded of one module, as it stands in its file."""
    return json.loads((HERE / "recordings" / f"{name}.json").read_text(encoding="utf-8"))["cases"]


def cases(name: str) -> Iterator[Case]:
    """The recorded cases of one module."""
    recorded = recorded_cases(name)
    groups = recorded.values() if isinstance(recorded, dict) else [recorded]
    for group in groups:
        yield from group


def mismatch(name: str, case: Case) -> Optional[str]:
    """What the installed module answers differently from the recording, or None."""
    return RECORDINGS[name](case)


def main() -> int:
    """Replays everything; the status is 1 if anything differs."""
    passed, failed = 0, 0
    for name in RECORDINGS:
        before = passed + failed
        for case in cases(name):
            found = mismatch(name, case)
            if found is None:
                passed += 1
            else:
                failed += 1
                print(f"{name}: {found}\n    in {json.dumps(case)[:300]}")
        if passed + failed == before:
            failed += 1
            print(f"{name}: the recording is empty")
    print(f"parity: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
