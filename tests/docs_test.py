#!/usr/bin/python3
"""The documents are true where a machine can tell: links lead somewhere, named tests exist, tables are whole."""

import json
import re
import unittest

from docs.blocks import blocks_of
from docs.console_test import DOCUMENTS
from source_tree import ROOT, files, lines_of, text_of

# Documents whose blocks have a test of their own: what that test runs by itself.
TRIED_ELSEWHERE = {
    "docs/cli.md": "tests/e2e/cli_docs_test.py",
    "docs/install.md": "tests/install/install_test.py",
    "docs/operations.md": "tests/e2e/operations_test.py",
    "docs/protocol.md": "tests/e2e/wire_case.py",
}
NOT_RUN_AT_MOST = 3

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
STATES = ("scheduled", "ready", "leased", "dead", "gone")
# Commands that can meet a job in any state: each state has to say what happens.
ANYWHERE = ("dispatch", "any answer", "cancel", "queue purge", "redrive", "dead purge", "enqueue, same unique key",
            "restart", "expiry")


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors_of(name):
    return {slug(re.sub(r"`", "", line.lstrip("#"))) for line in lines_of(name) if line.startswith("#")}


def table_rows(name, header):
    """The cells of the rows of the table that begins with this header line."""
    lines = lines_of(name)
    start = lines.index(header)
    rows = []
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


class Documents(unittest.TestCase):
    maxDiff = None

    def test_links_lead_somewhere(self):
        broken = []
        for name in files("*.md"):
            for target in LINK.findall(without_code(text_of(name))):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                found = (ROOT / name).parent / path if path else ROOT / name
                if not found.exists():
                    broken.append(f"{name}: {target} does not exist")
                elif anchor and found.suffix == ".md" and anchor not in anchors_of(found.resolve().relative_to(ROOT)):
                    broken.append(f"{name}: {target}: no such heading")
        self.assertEqual(broken, [])

    def test_lifecycle_table_knows_every_state_and_answers_every_command(self):
        rows = table_rows("docs/job_lifecycle.md", "| state | command | next state | effect | reply |")
        self.assertGreater(len(rows), 60)
        for row in rows:
            self.assertEqual(len(row), 5, row)
            self.assertIn(row[0], STATES, row)
            self.assertIn(row[2], STATES, row)
            self.assertTrue(all(row), f"an empty cell: {row}")
        self.assertEqual(len(rows), len({(row[0], row[1]) for row in rows}), "a cell stands twice")
        for state in STATES:
            commands = [row[1] for row in rows if row[0] == state]
            for command in ANYWHERE:
                self.assertTrue(any(c.startswith(command) for c in commands), f"{state}: what does '{command}' do?")

    def test_lifecycle_table_names_real_counters(self):
        known = set(re.findall(r"\b(\w+_total)\b", text_of("broker/engine/types.hpp"))) | {"lease_no"}
        for row in table_rows("docs/job_lifecycle.md", "| state | command | next state | effect | reply |"):
            for counter in re.findall(r"(\w+)\+1", row[3]):
                self.assertIn(counter, known, row)

    def test_the_files_that_the_architecture_names_exist(self):
        named = re.findall(r"`([\w./]+/[\w.]*)`", text_of("docs/architecture.md"))
        self.assertGreater(len(named), 30)
        self.assertEqual([path for path in named if not (ROOT / path).exists()], [])

    def test_every_promise_is_proved_by_tests_that_exist(self):
        missing = []
        for promise in re.split(r"^## ", text_of("docs/guarantees.md"), flags=re.MULTILINE)[1:]:
            if not re.search(r'^- `tests/', promise, re.MULTILINE):
                missing.append(f"no test is named for: {promise.splitlines()[0]}")
        for path, case in re.findall(r"^- `(tests/[^`]+)`: \"(.+)\"$", text_of("docs/guarantees.md"), re.MULTILINE):
            if not (ROOT / path).is_file():
                missing.append(f"{path} does not exist")
            elif case not in re.sub(r'"\s*\n\s*"', "", text_of(path)):
                missing.append(f'{path} has no case "{case}"')
        self.assertEqual(missing, [])

    def test_every_code_block_is_tried(self):
        untried, not_run = [], []
        pieces = "".join(text_of(name) for name in files("tests/docs/*.cpp"))
        for name in files("README.md", "docs/*.md"):
            blocks = [block for block in blocks_of(text_of(name)) if block.language]
            typed = "".join(block.text for block in blocks if block.language == "console")
            if name in TRIED_ELSEWHERE:
                self.assertTrue((ROOT / TRIED_ELSEWHERE[name]).is_file(), name)
                continue
            if typed and name not in DOCUMENTS:
                untried.append(f"{name}: its commands are not run: add it to tests/docs/console_test.py")
            for block in blocks:
                where = f"{name}:{block.line}: {block.language}"
                include = f'#include "{name.split("/")[-1].removesuffix(".md").lower()}/{block.name}.inc"'
                if block.not_run:
                    not_run.append(where)
                elif block.is_file:
                    if block.name not in typed and not any(
                            f'#include "{block.name}"' in other.text for other in blocks):
                        untried.append(f"{where}: no command of the document uses {block.name}")
                elif block.language == "cpp":
                    if include not in pieces:
                        untried.append(f"{where}: no test has {include}")
                elif block.language == "json":
                    lines = block.text.splitlines()
                    for text in [block.text] if lines[0].count("{") > lines[0].count("}") else lines:
                        json.loads(text)
                elif block.language != "console":
                    untried.append(f"{where}: neither a file that commands use, nor marked as not run (tests/docs/blocks.py)")
        self.assertEqual(untried, [])
        self.assertLessEqual(len(not_run), NOT_RUN_AT_MOST, not_run)

    def test_members_and_settings_that_are_named_exist(self):
        headers = "".join(text_of(name) for name in files("include/jobq/*.hpp"))
        settings = text_of("docs/configuration.md")
        wrong = []
        for name in files("README.md", "docs/*.md"):
            text = re.sub(r"^```cpp.*?^```$", "", text_of(name), flags=re.DOTALL | re.MULTILINE)  # those are compiled
            for member in re.findall(r"\b(?:job|client|worker)\.(\w+)\(", text):
                if not re.search(rf"\b{member}\(", headers):
                    wrong.append(f"{name}: no member {member}() in include/jobq/")
            for option in re.findall(r"[`{( ]\.(\w+)(?: =|`)", text):
                if not re.search(rf"\b{option}\b", headers):
                    wrong.append(f"{name}: no option .{option} in include/jobq/options.hpp")
            for setting in re.findall(r"`((?:limits|store|engine|queue_defaults)\.\w+)`", text):
                if f"| `{setting}` |" not in settings:
                    wrong.append(f"{name}: docs/configuration.md has no setting {setting}")
        self.assertEqual(wrong, [])

    def test_code_does_not_hide_in_blocks_without_a_language(self):
        code = re.compile(r"^(\$ |sudo |g\+\+ |meson |ninja |jobq|tools/|systemctl |#include |[\w:<>]+ \w+\(.*\) \{$)", re.MULTILINE)
        for name in files("README.md", "docs/*.md"):
            for block in blocks_of(text_of(name)):
                if not block.language:
                    self.assertNotRegex(block.text, code, f"{name}:{block.line}: say which language this is (docs/testing.md)")

    def test_every_problem_has_its_row(self):
        kinds = re.findall(r'\{"(\w+)", "(?:critical|warning)"', re.sub(r"\s*\n\s*", "", text_of("broker/server/problems.cpp")))
        self.assertGreater(len(kinds), 9)
        rows = "".join(line for line in lines_of("docs/production.md") if "| critical |" in line or "| warning |" in line)
        self.assertEqual([kind for kind in kinds if f"`{kind}`" not in rows], [])

    def test_messages_that_are_quoted_exist(self):
        sources = re.sub(r'"\s*\n\s*"', "", "".join(text_of(name) for name in files("broker/*.cpp", "libjobq/*.cpp", "cli/*.cpp", "worker/*.cpp", "include/*.hpp")))
        pieces, missing = 0, []
        for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text_of("docs/troubleshooting.md"), flags=re.DOTALL)):
            if " " not in quoted or quoted.startswith(("jobq ", "ss ", "kill ", "systemctl ")):
                continue
            for piece in re.split(r"…|'[^']*'|\bN\b|[+-]?\d[\d.]*", quoted):
                piece = piece.strip(" ().,:")
                if len(piece) >= 8:
                    pieces += 1
                    if piece not in sources:
                        missing.append(f"no program says '{piece}'")
        self.assertGreater(pieces, 20)
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main()
