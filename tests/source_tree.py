"""The files of the repository, for the tests that read sources and documents.

In a git checkout: what git tracks, and new files that it does not ignore (so that a file is checked before it is
added). Without git (an unpacked archive): every file outside build directories. Paths are relative to ROOT.
"""

import fnmatch
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def all_files():
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
        names = [name for name in names if not name.startswith(("build", ".git/"))]
    return sorted({name for name in names if (ROOT / name).is_file()})


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def files(*patterns):
    """Files whose path matches one of the patterns; '*' matches '/' as well."""
    return [name for name in all_files() if matches(name, patterns)]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def lines_of(name):
    return text_of(name).splitlines()
