#!/usr/bin/python3
"""The rules of the house that a machine can check: who may include what, calls that have a better replacement, file
lengths, headers, white space. Every failure names the file, the line and the remedy. A rule's exceptions stand next to
it with their reasons; an exception that is no longer needed fails too, so that the lists only shrink."""

import re
import unittest

import source_tree
from source_tree import files, lines_of, matches, text_of

CPP = ("*.cpp", "*.hpp")
SCRIPTS = ("*.py", "*.sh", ".ci/*")

# Header -> (where it may be included, what to use elsewhere).
LIBRARY_HEADERS = {
    "lmdb.h": (("broker/store/lmdb*", "bench/bare_*", "tests/store/failing_*", "tests/store/flipped_*"), "the Store interface (broker/store/store.hpp)"),
    "zmq.h": (("broker/net/*", "broker/main.cpp", "libjobq/channel*", "bench/bare_*"), "Transport (broker) or Channel (library)"),
    "zmq.hpp": (("broker/net/*", "libjobq/channel*"), "Transport (broker) or Channel (library)"),
    "msgpack.hpp": (
        ("libjobq/protocol/*", "include/jobq/msgpack_body.hpp", "broker/server/*", "cli/*", "examples/*"),
        "the codec (libjobq/protocol/codec.hpp)",
    ),
    "curl/curl.h": (("examples/*",), "nothing: the product speaks no HTTP and no SMTP"),
    "httplib.h": (("examples/*",), "nothing: the product speaks no HTTP"),
}

# Room -> what its own headers may come from (quoted includes). Rooms that are not listed may include anything.
ROOMS = {
    "libjobq/base/*": ("libjobq/base/*", "jobq/export.hpp", "jobq/status.hpp"),
    "libjobq/protocol/*": ("libjobq/base/*", "libjobq/protocol/*", "jobq/*"),
    "broker/engine/*": (
        "broker/engine/*", "broker/store/store.hpp", "libjobq/base/*", "libjobq/protocol/message.hpp",
        "libjobq/protocol/limits.hpp", "libjobq/protocol/names.hpp", "jobq/status.hpp",
    ),
    "broker/store/*": ("broker/store/*", "broker/engine/*", "libjobq/base/*", "libjobq/protocol/*", "jobq/*"),
    "broker/net/*": ("broker/net/*", "broker/engine/command.hpp", "libjobq/base/*", "libjobq/protocol/*", "jobq/*"),
    "include/jobq/*": ("jobq/*",),
    "libjobq/*.?pp": ("libjobq/*", "jobq/*"),
    "testing/*": ("testing/*", "broker/*", "libjobq/*", "jobq/*"),
    "cli/*": ("cli/*", "manual/*", "libjobq/*", "jobq/*", "broker/store/*", "broker/engine/*"),
    "worker/*": ("worker/*", "manual/*", "libjobq/*", "jobq/*", "cli/duration.hpp"),
    "manual/*": ("manual/*", "jobq/*"),
    "examples/*": ("examples/*", "jobq/*"),
}
# The engine is pure: the standard library without its clocks, threads, files and streams.
ENGINE_BANNED_STD = {
    "thread", "mutex", "condition_variable", "future", "atomic", "chrono", "fstream", "iostream", "filesystem",
    "random", "ctime", "cstdio", "cstdlib",
}

# (pattern, where it applies, where it does not, what to use). Applied to code without comments and string literals.
BANNED = [
    (r"\b(system_clock|gettimeofday|time\(nullptr\)|time\(NULL\))", ("*",),
     ("libjobq/base/clock*", "broker/server/clock*", "bench/*", "cli/*", "examples/*", "tests/*",
      "worker/workshop.cpp"),  # JOBQ_DEADLINE is a date for people's scripts
     "the Clock of broker/server/clock.hpp: time is an argument, read once a turn"),
    (r"\b(steady_clock|clock_gettime)\b", ("broker/engine/*", "broker/store/*", "libjobq/protocol/*"),
     ("broker/store/lmdb*",),
     "the TimeMs argument: what decides does not ask the system"),
    (r"\bhigh_resolution_clock\b", ("*",), (), "std::chrono::steady_clock"),
    (r"(?<![\w.>:])s?rand(om)?\(", ("*",), (), "jobq::Prng (libjobq/base/prng.hpp)"),
    (r"\bstd::(mt19937|minstd_rand|default_random_engine|\w+_distribution)", ("*",), (),
     "jobq::Prng (libjobq/base/prng.hpp): the same numbers on every machine"),
    (r"\busing namespace std;", ("*",), (), "std:: at each name"),
    (r"\bstd::endl\b", ("*",), (), "'\\n'"),
    (r"(?<![\w:.>])(sprintf|strcpy|strcat|strtok|gets|atoi|atol|atof)\(", ("*",), (),
     "fmt::format, std::string, std::from_chars"),
    (r"\bstd::sto(i|l|ll|ul|ull|d|f)\(", ("broker/*", "libjobq/*", "cli/*"), (),
     "std::from_chars: bytes from outside give an error, not an exception"),
    (r"(?<![\w.:>])assert\(", ("*",), (), "JOBQ_CHECK (libjobq/base/check.hpp), which is always on"),
    (r"catch \(\.\.\.\) \{\s*\}", ("*",), (), "a handler that says what happened"),
    (r"\b(float|double)\b", ("broker/engine/*",), (), "integers: a decision must not depend on rounding"),
    (r"\bstd::(jthread|thread|mutex)\b", ("broker/engine/*",), (), "nothing: the engine has one caller"),
]

SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|time\.sleep)\(|^\s*sleep [0-9.]")
# The few places where a poll with a deadline, or a job that takes time, is made of a sleep.
MAY_SLEEP = {
    "tests/e2e/processes.py": "wait_until: the one poll with a deadline that the others use",
    "tests/client/e2e/broker_process.cpp": "eventually(): the poll with a deadline of the client's end-to-end tests",
}

SOFT_LINES, HARD_LINES = 400, 500
# Files over HARD_LINES: the reason why they are one idea.
LONG_FILES = {}

MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
VAGUE_NAMES = re.compile(r"(^|[/_])(utils?|common|helpers?|misc|manager)([._]|$)")

CODE_NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def code_of(name):
    """The text without comments and string literals, line numbers kept."""
    def blank(match):
        return "\n" * match.group(0).count("\n")
    return CODE_NOISE.sub(blank, text_of(name))


def includes_of(name):
    """(line number, quote, target) of each include."""
    found = []
    for number, line in enumerate(lines_of(name), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            found.append((number, match.group(1), match.group(2)))
    return found


class Tidy(unittest.TestCase):
    maxDiff = None

    def report(self, problems):
        if problems:
            self.fail("\n" + "\n".join(problems))

    def test_there_are_files_to_check(self):
        self.assertGreater(len(files(*CPP)), 20, "the source tree was not found")

    def test_libraries_are_included_only_in_the_file_that_adapts_them(self):
        problems = []
        for name in files(*CPP):
            for number, _, target in includes_of(name):
                places, instead = LIBRARY_HEADERS.get(target, (("*",), ""))
                if not matches(name, places):
                    problems.append(f"{name}:{number}: <{target}> belongs in {' '.join(places)}; use {instead}")
        self.report(problems)

    def test_rooms_include_only_plainer_rooms(self):
        problems = []
        for room, allowed in ROOMS.items():
            for name in files(room):
                for number, quote, target in includes_of(name):
                    if quote == '"' and not matches(target, allowed):
                        problems.append(f"{name}:{number}: {room} may not include \"{target}\", only {' '.join(allowed)}")
        self.report(problems)

    def test_the_engine_is_pure(self):
        problems = []
        for name in files("broker/engine/*"):
            for number, quote, target in includes_of(name):
                if quote != "<":
                    continue
                if target in ENGINE_BANNED_STD or (("/" in target or target.endswith((".h", ".hpp")))
                                                   and not target.startswith("fmt/")):
                    problems.append(f"{name}:{number}: <{target}>: the engine is values in, values out")
        self.report(problems)

    def test_banned_calls(self):
        problems = []
        for name in files(*CPP):
            code = code_of(name)
            for pattern, where, unless, instead in BANNED:
                if not matches(name, where) or matches(name, unless):
                    continue
                for match in re.finditer(pattern, code):
                    number = code.count("\n", 0, match.start()) + 1
                    problems.append(f"{name}:{number}: {match.group(0)}: use {instead}")
        self.report(problems)

    def test_tests_do_not_sleep(self):
        problems, used = [], set()
        for name in files("tests/*.cpp", "tests/*.hpp", "tests/*.py", "tests/*.sh"):
            code = code_of(name) if name.endswith(("pp",)) else text_of(name)
            for number, line in enumerate(code.splitlines(), 1):
                if name == "tests/tidy_test.py" or not SLEEP.search(line):
                    continue
                used.add(name)
                if name not in MAY_SLEEP:
                    problems.append(f"{name}:{number}: a sleep: wait for the condition itself, with a deadline")
        problems += [f"tests/tidy_test.py: MAY_SLEEP names {name}, which has none" for name in MAY_SLEEP if name not in used]
        self.report(problems)

    def test_nothing_is_left_for_later(self):
        problems = []
        for name in files(*CPP, *SCRIPTS, "*.build", "*.md"):
            for number, line in enumerate(lines_of(name), 1):
                if MARKERS.search(line):
                    problems.append(f"{name}:{number}: finish it, or open an issue: {line.strip()}")
        self.report(problems)

    def test_files_are_one_idea_long(self):
        problems = []
        for name in files(*CPP):
            length = len(lines_of(name))
            if length > HARD_LINES and name not in LONG_FILES:
                problems.append(f"{name}: {length} lines, the limit is {HARD_LINES}: split it by idea")
            elif length > SOFT_LINES and name not in LONG_FILES:
                print(f"note: {name} has {length} lines; {SOFT_LINES} is where to think of a split")
            if name in LONG_FILES and length <= HARD_LINES:
                problems.append(f"tests/tidy_test.py: LONG_FILES names {name}, which has {length} lines now: strike it out")
        present = files(*CPP)
        problems += [f"tests/tidy_test.py: LONG_FILES names {name}, which is gone" for name in LONG_FILES if name not in present]
        self.report(problems)

    def test_each_invariant_has_a_history_that_must_be_rejected(self):
        tests = "".join(text_of(name) for name in files("tests/faults/checker*_test.cpp"))
        rules = "".join(text_of(name) for name in files("tests/faults/rules_of_*.cpp"))
        problems = []
        for invariant in (f"I{number}" for number in range(1, 23)):
            if f'{{"{invariant}"' not in rules:
                problems.append(f"tests/faults/rules_of_*.cpp: no rule says {invariant}")
            cases = re.findall(rf'TEST_CASE\(\s*"{invariant}: .*?\n}}', tests, re.DOTALL)
            if not cases:
                problems.append(f"tests/faults/checker*_test.cpp: no case is named '{invariant}: ...'")
            elif not any(re.search(rf'== "{invariant}"|==\s*"{invariant}"', case) for case in cases):
                problems.append(f"tests/faults/checker*_test.cpp: no history is rejected by {invariant} alone")
            elif not any(re.search(r'==\s*""', case) for case in cases):
                problems.append(f"tests/faults/checker*_test.cpp: no history passes {invariant}")
        self.report(problems)

    def test_headers_begin_with_what_they_are(self):
        problems = []
        for name in files("*.hpp"):
            lines = lines_of(name)
            if not lines or not lines[0].startswith("// "):
                problems.append(f"{name}: a header opens with a paragraph: what it is, threads, units, ownership, errors")
            first = next((line for line in lines if line and not line.startswith("//")), "")
            if first != "#pragma once":
                problems.append(f"{name}: '#pragma once' comes right after the opening comment")
        self.report(problems)

    def test_names_say_what_a_file_is(self):
        self.report([f"{name}: a name that would fit anything" for name in files(*CPP, "*.py", "*.sh")
                     if VAGUE_NAMES.search(name)])

    def test_white_space(self):
        problems = []
        for name in files(*CPP, *SCRIPTS, "*.build", "*.md", "*.toml", "*.txt"):
            text = text_of(name)
            if text and not text.endswith("\n"):
                problems.append(f"{name}: the last line does not end")
            for number, line in enumerate(text.split("\n"), 1):
                if "\t" in line or line != line.rstrip():
                    problems.append(f"{name}:{number}: a tab or a trailing space")
        self.report(problems)

    def test_scripts_can_be_run(self):
        problems = []
        for name in files(*SCRIPTS):
            text = text_of(name)
            if text.startswith("#!") and not (source_tree.ROOT / name).stat().st_mode & 0o100:
                problems.append(f"{name}: begins with #! and is not executable: chmod +x")
        self.report(problems)


if __name__ == "__main__":
    unittest.main()
