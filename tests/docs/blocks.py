#!/usr/bin/python3
"""The code blocks of the documents, and how each is tried. docs/testing.md tells it to those who write documents.

    ```cpp NAME          a piece of C++: tests/docs/DOCUMENT_test.cpp has it included and run
    ```cpp NAME.cpp      a whole file, put into the directory where the document's commands run (any language)
    ```console           commands behind `$ ` with what they print: run in order, in one shell (console_test.py)

A block without a language is a picture or a form to fill in, not code. A block that cannot be run says so to its readers:
it has a comment `Not run by the tests: REASON`.

As a program: `blocks.py DOCUMENT HEADER` writes each piece to DOCUMENT/NAME.inc beside HEADER, which is touched.
"""

import pathlib
import re
import sys
from dataclasses import dataclass

ENDPOINT = "tcp://127.0.0.1:7710"  # in the documents; the tests put that of their own broker there
NOT_RUN = re.compile(r"Not run by the tests: \w+")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Block:
    line: int  # of its first line of code
    language: str
    name: str
    text: str

    @property
    def is_file(self):
        return bool(self.name) and ("." in self.name or self.language not in ("cpp", "console"))

    @property
    def not_run(self):
        return NOT_RUN.search(self.text) is not None


def blocks_of(text):
    found = []
    for match in FENCE.finditer(text):
        language, _, name = match.group(1).strip().partition(" ")
        found.append(Block(text.count("\n", 0, match.start()) + 2, language, name, match.group(2)))
    return found


def write_pieces(document, header):
    directory = header.parent / document.stem.lower()
    directory.mkdir(exist_ok=True)
    for block in blocks_of(document.read_text(encoding="utf-8")):
        if block.language == "cpp" and not block.is_file:
            code = block.text.replace(f'"{ENDPOINT}"', "doc_endpoint")
            (directory / f"{block.name}.inc").write_text(f'#line {block.line} "{document}"\n{code}', encoding="utf-8")
    header.write_text(f"// The pieces of {document.name} are written beside this file; it changes when they do.\n#pragma once\n",
                      encoding="utf-8")


if __name__ == "__main__":
    write_pieces(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
