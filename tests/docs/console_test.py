#!/usr/bin/python3
"""The commands of the documents, run in order as a reader types them: each prints what is shown there.

A document's ```console blocks are one shell session, in a temporary directory that holds the document's files
(```LANGUAGE NAME.EXT). What is shown has the shape of what is printed (cli_docs_test.py: ids, times, sizes may differ); a line
`...` stands for any lines. A command that only looks is asked again until it shows it, because brokers and workers take their
time. `console_test.py --update DOCUMENT` writes what was really printed into the document, to be reviewed.
"""

import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "e2e")]
from blocks import ENDPOINT, blocks_of  # noqa: E402
from cli_docs_test import shape  # noqa: E402
from processes import Workspace, wait_until  # noqa: E402

# Documents whose commands are tried here, and what they expect: a broker that runs, files of the source tree, a
# file out of another document.
DOCUMENTS = {
    "README.md": ["broker", "docs/jobq_worker.md: send-receipt"],
    "docs/configuration.md": [],
    "docs/jobq_worker.md": ["broker"],
    "docs/persistent_workers.md": ["broker", "examples/persistent/thumbnails.py"],
    "docs/production.md": ["broker"],
    "docs/quickstart.md": [],
    "docs/recipes.md": ["broker"],
    "docs/shop.md": ["broker", "examples/shop/take_from_stock.sh"],
    "docs/troubleshooting.md": ["broker"],
}
LOOKS = re.compile(r"(ls |jobq (stats|job (show|why)|dead (ls|show|summary)|queue (ls|show)|worker (ls|show)|ping|events)\b|cat |grep |tail |head )")

# What a shell without a terminal says of a job that was killed; one with a terminal says it otherwise and elsewhere.
KILLED = re.compile(r"^bash: line \d+: +\d+ Killed .*\n", re.MULTILINE)


class Shell:
    """One bash in the background: commands go in, what they print comes out. Its end is the end of all it has started."""

    def __init__(self, directory, environment):
        self.mark = secrets.token_hex(8)
        self.output = open(directory / ".session", "wb+")
        self.seen = 0
        self.bash = subprocess.Popen(["bash", "--norc"], stdin=subprocess.PIPE, stdout=self.output, stderr=self.output, cwd=directory,
                                     env=environment, text=True, start_new_session=True)
        self.status = 0
        self.bash.stdin.write("trap 'trap - EXIT; kill -KILL 0' EXIT\n")

    def run(self, command):
        """What it printed on both outputs until it was done."""
        self.bash.stdin.write(f"{command}\n__status=$?; printf '%s %s\\n' {self.mark} $__status; (exit $__status)\n")
        self.bash.stdin.flush()
        end = wait_until(self.marked, f"`{command}` ends", 120)
        text = end.string[:end.end()]
        self.seen += len(text.encode())
        self.status = int(end.group(1))
        return KILLED.sub("", text[:end.start()])

    def marked(self):
        text = pathlib.Path(self.output.name).read_bytes()[self.seen:].decode()
        if self.bash.poll() is not None:
            raise AssertionError(f"the shell has ended:\n{text}")
        return re.search(rf"{self.mark} (\d+)\n", text)

    def close(self):
        self.bash.stdin.close()
        self.bash.wait(30)
        self.output.close()


def examples_of(block):
    """[(command, output)] of a console block; a command goes on while its lines end with a backslash."""
    found = []
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        length = 1
        while lines[length - 1].endswith("\\"):
            length += 1
        found.append(("\n".join(lines[:length]), "\n".join(lines[length:])))
    return found


def shows(seen, written):
    """Whether what was printed is what is written, where a line `...` is any number of lines."""
    if not written:
        return not seen
    if written[0] == "...":
        return any(shows(seen[skip:], written[1:]) for skip in range(len(seen) + 1))
    return bool(seen) and seen[0] == written[0] and shows(seen[1:], written[1:])


def environment_of(space):
    """Our programs on the PATH, a compiler that finds the library of this build, and the broker's place."""
    programs = space.directory / "bin"
    programs.mkdir()
    for variable, name in (("JOBQ_BROKER", "jobq-broker"), ("JOBQ_CLI", "jobq"), ("JOBQ_WORKER", "jobq-worker")):
        if variable in os.environ:
            (programs / name).symlink_to(os.environ[variable])
    compiler = programs / "g++"
    name, _, flags = os.environ["JOBQ_CXX"].partition(" ")
    compiler.write_text(f'#!/bin/sh\nexec {shutil.which(name)} {flags} "$@"\n')
    compiler.chmod(0o755)
    (programs / "jobq.pc").write_text(f"Name: jobq\nDescription: of this build\nVersion: 0\nCflags: -I{ROOT}/include -DMSGPACK_NO_BOOST\n"
                                      f"Libs: {os.environ['JOBQ_LIBRARY']} -lzmq -lfmt -lxxhash -pthread\n")
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PKG_CONFIG_PATH": str(programs), "TZ": "Etc/UTC",
            "JOBQ_ENDPOINT": space.endpoint, "PYTHONDONTWRITEBYTECODE": "1"}


class Session:
    """A document's files and its shell."""

    def __init__(self, space, name):
        self.space, self.blocks = space, blocks_of((ROOT / name).read_text(encoding="utf-8"))
        environment = environment_of(space)
        directory = space.directory / "reader"
        directory.mkdir()
        for wanted in DOCUMENTS[name]:
            if wanted == "broker":
                space.broker()
            elif ": " in wanted:
                document, _, file = wanted.partition(": ")
                self.blocks += [block for block in blocks_of((ROOT / document).read_text(encoding="utf-8")) if block.name == file]
            else:
                (directory / pathlib.Path(wanted).name).symlink_to(ROOT / wanted)
        for block in self.blocks:
            if block.is_file and block.language != "console":
                path = directory / block.name
                path.write_text(self.here(block.text), encoding="utf-8")
                path.chmod(0o755)
        self.shell = Shell(directory, environment)

    def here(self, text):
        return text.replace(ENDPOINT, self.space.endpoint)

    def run(self, command, written):
        """What the command prints; one that only looks is run until that is what is written."""
        seen = []

        def shown():
            seen.append(self.shell.run(self.here(command)))
            return not LOOKS.match(command) or shows(shape(seen[-1]), shape(written))

        try:
            wait_until(shown, f"`{command}` shows what is written")
        except AssertionError:
            if not seen:
                raise
        return seen[-1]

    def examples(self):
        for block in self.blocks:
            if block.language == "console":
                for command, written in examples_of(block):
                    yield block, command, written


def update(name):
    document = ROOT / name
    text = document.read_text(encoding="utf-8")
    with Workspace() as space:
        session = Session(space, name)
        for block, command, written in session.examples():
            seen = session.run(command, written)
            if not shows(shape(seen), shape(written)):
                seen = seen.replace(space.endpoint, ENDPOINT).replace(str(space.directory / "reader"), "/home/me/shop").rstrip()
                old = f"$ {command}\n{written}".rstrip("\n")
                text = text.replace(old, f"$ {command}\n{seen}".rstrip("\n"), 1)
        session.shell.close()
    document.write_text(text, encoding="utf-8")


class Documents(unittest.TestCase):
    maxDiff = None

    def check(self, name):
        with Workspace() as space:
            session = Session(space, name)
            self.addCleanup(session.shell.close)
            for block, command, written in session.examples():
                seen = session.run(command, written)
                self.assertTrue(shows(shape(seen), shape(written)),
                                f"{name}:{block.line}: `{command}` is to print\n{written}\nbut prints\n{seen}")

    def test_commands_that_are_named_exist(self):
        named = set()
        for path in (*ROOT.glob("docs/*.md"), ROOT / "README.md"):
            for words in re.findall(r"(?:`|\$ )jobq ((?:[a-z]+ ?)+)", path.read_text(encoding="utf-8")):
                named.add(tuple(words.split()[:2]))
        self.assertGreater(len(named), 15)
        wrong = []
        for words in sorted(named):
            for length in (2, 1):  # The second word may be an argument.
                done = subprocess.run([os.environ["JOBQ_CLI"], *words[:length], "--help"], capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    break
            if done.returncode != 0 or (length == 1 and re.search(r"^Subcommands:$", done.stdout, re.MULTILINE) and len(words) == 2):
                wrong.append(" ".join(words))
        self.assertEqual(wrong, [])

    def test_what_is_shown(self):
        self.assertTrue(shows(["a", "b", "c"], ["a", "...", "c"]))
        self.assertTrue(shows(["a"], ["a", "..."]))
        self.assertFalse(shows(["a", "b"], ["a"]))
        self.assertFalse(shows(["a"], ["a", "b"]))


def check_of(name):
    return lambda self: self.check(name)


for document_name in DOCUMENTS:
    setattr(Documents, f"test_{pathlib.Path(document_name).stem}", check_of(document_name))

if __name__ == "__main__":
    if sys.argv[1:2] == ["--update"]:
        for document_name in sys.argv[2:] or DOCUMENTS:
            update(document_name)
    else:
        unittest.main()
