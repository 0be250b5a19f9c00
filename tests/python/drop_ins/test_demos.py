"""The entry points print what the original modules printed."""

import re
import subprocess
import sys


def run(module):
    return subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, timeout=200, encoding="utf-8")


def test_every_worker_of_the_demo_gets_one_of_three_resources():
    done = run("design.opool_demo")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    matches = [re.fullmatch(r"worker (\d) got resource ([0-9a-f-]{36})", line) for line in lines]
    assert all(matches), done.stdout
    assert sorted(match[1] for match in matches) == [str(worker) for worker in range(10)]
    assert len({match[2] for match in matches}) <= 3


def test_the_port_allocator_shows_its_ports_and_what_a_billion_ids_cost():
    done = run("design.objectmgr_demo")
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"^  ([a-zA.]{64})  ", done.stdout, re.MULTILINE)
    assert len(rows) > 9
    assert all(row[0] == "x" and row[8:12] == "xxxx" and row[32] == "A" for row in rows)
    assert "a wrong id changes nothing: 8063 is not currently allocated; 8032 still allocated: True" in done.stdout
    assert "read back equal: True" in done.stdout
    jobs = re.findall(r"^  job (\d) has 900[01] after +\d+ ms$", done.stdout, re.MULTILINE)
    assert sorted(jobs) == ["0", "1", "2", "3", "4"]
    assert "given 999000000, available 1000000" in done.stdout


def test_the_sample_prints_the_newest_first_and_says_when_nothing_is_left():
    done = run("design.opool_sample")
    assert (done.returncode, done.stdout) == (0, "7\n5\n1\n1\n1\n")
    assert done.stderr == "IndexError: pop from empty list\n"


def test_the_palindrome_module_shows_one_of_each():
    done = run("algorithms.palindrome")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[1:3] == [
        "        Should not be a palindrome: False Palindrome",
        "        Should be a palindrome: True Palindrome",
    ]


def test_the_triplets_module_shows_what_it_expects_and_finds():
    done = run("algorithms.triplets")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Should be equals: True" in done.stdout
    assert done.stdout.count("[[-4, 0, 4], [-4, 1, 3], [-2, -1, 3], [-1, 0, 1]]") == 2
