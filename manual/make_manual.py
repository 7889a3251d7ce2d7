#!/usr/bin/env python3
"""Man page and completion of a program from its own definition of its command line.

    make_manual.py PROGRAM man SECTION > jobq.1
    make_manual.py PROGRAM bash > completions/jobq
    make_manual.py PROGRAM zsh > _jobq

Run by the build; needs nothing but Python's standard library.
"""

import json
import re
import subprocess
import sys


def definition_of(program):
    return json.loads(subprocess.run([program, "--print-definition"], check=True, capture_output=True, text=True).stdout)


# ---- what can stand somewhere ---------------------------------------------------------------------------------------

def kind_of_value(option):
    """choices, file, directory, queue, or nothing known."""
    value, names = option["value"], option["names"] + [option["positional"]]
    choices = re.search(r"\{([\w,.:-]+)\}", value)
    if choices:
        return "choices", choices.group(1).split(",")
    words = " ".join([value.split(":")[0], *names]).upper()
    if re.search(r"\bDIR\b|NEW_DIR", words) or option["names"] == ["--data"]:
        return "directory", None
    if re.search(r"\bFILE\b", words):
        return "file", None
    if re.search(r"\bQUEUE\b", words):
        return "queue", None
    return "", None


def commands_of(app, path):
    """(path, command) of the app and everything below it."""
    yield path, app
    for command in app["commands"]:
        yield from commands_of(command, [*path, command["name"]])


def flags(app):
    return [option for option in app["options"] if option["names"]]


def positionals(app):
    return [option for option in app["options"] if option["positional"]]


def first_sentence(text):
    """The first thing that is said: up to a colon only when more than a word or two stands before it."""
    text = text.replace("\n", " ").strip()
    parts = (re.split(rf"(?<=[{ends}])\s", text)[0] for ends in (".;:", ".;"))
    first = next((part for part in parts if len(part.split()) > 2 or not part.endswith(":")), text).rstrip(".;:")
    return first[:first.rindex(" (")] if first.count("(") > first.count(")") else first


# ---- man ------------------------------------------------------------------------------------------------------------

def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def option_roff(option):
    names = ", ".join(f"\\fB{roff(name)}\\fR" for name in option["names"]) or f"\\fI{roff(option['positional'])}\\fR"
    value = re.sub(r":(INT|UINT|FLOAT|TEXT|POSITIVE|NONNEGATIVE|\{).*|:.*\bin\b.*", "", option["value"])
    if option["names"] and value:
        names += f" \\fI{roff(value)}\\fR"
    notes = [text for text in (f"Environment: {option['environment']}." if option["environment"] else "",) if text]
    text = option["help"].strip()
    return f".TP\n{names}\n{roff(text)}{''.join(' ' + roff(note) for note in notes)}\n"


def synopsis(app, path):
    words = [f"\\fB{roff(' '.join(path))}\\fR"]
    if app["commands"]:
        words.append("\\fICOMMAND\\fR")
    for option in positionals(app):
        name = f"\\fI{roff(option['positional'])}\\fR"
        words.append(name if option["required"] else f"[{name}]")
    words.append("[\\fIOPTIONS\\fR]")
    return " ".join(words)


def verbatim(text):
    return ".nf\n" + roff(text.strip("\n")) + "\n.fi\n"


def split_footer(footer):
    """(examples, exit codes), without their headings."""
    examples, _, codes = footer.partition("Exit codes:")
    return re.sub(r"^\s*Examples?:\n?", "", examples), codes.strip()


def man(app, section):
    name = app["name"]
    what = re.sub(rf"^{re.escape(name)}: ", "", app["help"].strip())
    summary = first_sentence(what.splitlines()[0])
    out = f'.TH "{name.upper()}" "{section}" "" "jobq {app["version"]}" "jobq"\n'
    out += f".SH NAME\n{roff(name)} \\- {roff(summary)}\n"
    usage = synopsis(app, [name])
    if name == "jobq-worker":
        usage = "\\fBjobq\\-worker\\fR \\fB\\-\\-queue\\fR \\fIQUEUE\\fR[:\\fIWEIGHT\\fR]... [\\fIOPTIONS\\fR] \\-\\- \\fICOMMAND\\fR [\\fIARGUMENT\\fR]..."
    out += f".SH SYNOPSIS\n{usage}\n"
    out += f".SH DESCRIPTION\n{roff(what)}\n"
    if app["commands"]:
        out += "Every command has \\fB\\-\\-help\\fR with examples. Global options may stand before or after the command.\n"
    out += ".SH OPTIONS\n" + "".join(option_roff(option) for option in app["options"])
    leaves = [(path, command) for path, command in commands_of(app, [name]) if path != [name] and not command["commands"]]
    if leaves:
        out += ".SH COMMANDS\n"
    for path, command in leaves:
        out += f".SS {roff(' '.join(path[1:]))}\n{synopsis(command, path)}\n.PP\n{roff(command['help'])}.\n".replace("..\n", ".\n")
        out += "".join(option_roff(option) for option in command["options"] if "--help" not in option["names"])
        examples, _ = split_footer(command["footer"])
        if examples.strip():
            out += ".PP\nExamples:\n" + verbatim(examples)
    examples, codes = split_footer(app["footer"])
    if examples.strip():
        out += ".SH EXAMPLES\n" + verbatim(examples)
    if codes:
        out += ".SH EXIT STATUS\n" + verbatim(re.sub(r"(?m)^ +", "", codes))
    others = {"jobq": 1, "jobq-broker": 8, "jobq-worker": 1}
    out += ".SH SEE ALSO\n" + ", ".join(f"\\fB{roff(other)}\\fR({number})" for other, number in others.items() if other != name) + "\n"
    return out


# ---- bash -----------------------------------------------------------------------------------------------------------

def shell_name(program):
    return re.sub(r"\W", "_", program)


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def bash_values(option, function):
    kind, choices = kind_of_value(option)
    if kind == "choices":
        return f"COMPREPLY=($(compgen -W {quoted(' '.join(choices))} -- \"$cur\"))"
    if kind == "directory":
        return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur"))'
    if kind == "file":
        return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))'
    if kind == "queue":
        return f'COMPREPLY=($(compgen -W "$({function}_queues)" -- "$cur"))'
    return "COMPREPLY=()"


def bash(app):
    name, function = app["name"], "_" + shell_name(app["name"])
    every = list(commands_of(app, [name]))
    root_flags = flags(app)
    lines = [f"# bash completion of {name}, made from its own definition of its command line. Do not edit.", ""]
    lines += [f"{function}_queues() {{",
              "  # The broker that the command line names; quickly, or not at all.",
              "  local i endpoint=()",
              "  for ((i = 1; i < COMP_CWORD; i++)); do",
              '    if [[ ${COMP_WORDS[i]} == --endpoint ]]; then endpoint=(--endpoint "${COMP_LINE#*--endpoint}"); fi',
              "  done",
              '  if ((${#endpoint[@]})); then endpoint[1]=${endpoint[1]#[ =]}; endpoint[1]=${endpoint[1]%% *}; fi',
              '  jobq "${endpoint[@]}" --timeout 300ms --json queue ls 2>/dev/null | grep -o \'"name":"[^"]*"\' | cut -d\'"\' -f4',
              "}", ""]
    lines += [f"{function}() {{", '  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}',
              f"  local path={quoted(name)} word i place=0 skip=0", "  COMPREPLY=()"]
    takes = sorted({flag for _, command in every for option in flags(command) if option["value"] for flag in option["names"]})
    lines += ["  for ((i = 1; i < COMP_CWORD; i++)); do", "    word=${COMP_WORDS[i]}",
              "    if ((skip)); then skip=0; continue; fi",
              "    case $word in",
              f"      {'|'.join(takes)}) skip=1; continue ;;" if takes else "      --) ;;",
              "      -*|=|:) continue ;;", "    esac", '    case "$path $word" in']
    for path, _ in every[1:]:
        lines.append(f"      {quoted(' '.join(path))}) path={quoted(' '.join(path))}; place=0 ;;")
    lines += ["      *) place=$((place + 1)) ;;", "    esac", "  done", '  case "$path|$prev" in']
    for path, command in every:
        for option in flags(command):
            if not option["value"]:
                continue
            # Global options may stand anywhere.
            patterns = [f"*\"|{flag}\"" if command is app else f"{quoted(' '.join(path) + '|' + flag)}" for flag in option["names"]]
            lines.append(f"    {'|'.join(patterns)}) {bash_values(option, function)}; return ;;")
    lines += ["  esac", '  if [[ $cur == -* ]]; then', '    case "$path" in']
    for path, command in every:
        names = [flag for option in flags(command) for flag in option["names"] if flag.startswith("--")]
        names += [flag for option in root_flags for flag in option["names"] if flag.startswith("--") and flag not in names]
        lines.append(f"      {quoted(' '.join(path))}) COMPREPLY=($(compgen -W {quoted(' '.join(names))} -- \"$cur\")) ;;")
    lines += ["    esac", "    return", "  fi", '  case "$path:$place" in']
    for path, command in every:
        if command["commands"]:
            words = " ".join(child["name"] for child in command["commands"])
            lines.append(f"    {quoted(' '.join(path))}:*) COMPREPLY=($(compgen -W {quoted(words)} -- \"$cur\")) ;;")
            continue
        for place, option in enumerate(positionals(command)):
            pattern = f"{quoted(' '.join(path))}:" + ("*" if option["many"] else str(place))
            lines.append(f"    {pattern}) {bash_values(option, function)} ;;")
    lines += ["  esac", "}", f"complete -F {function} {name}"]
    return "\n".join(lines) + "\n"


# ---- zsh ------------------------------------------------------------------------------------------------------------

def zsh_text(text):
    return re.sub(r"([\[\]:\\])", r"\\\1", first_sentence(text)).replace("'", "'\\''")


def zsh_action(option, function):
    kind, choices = kind_of_value(option)
    if kind == "choices":
        return "(" + " ".join(choices) + ")"
    return {"directory": "_directories", "file": "_files", "queue": f"{function}_queues"}.get(kind, " ")


def zsh_option(option, function):
    specs = []
    label = re.sub(r"\W+", "_", option["value"].split(":")[0]) or "value"
    for flag in option["names"]:
        value = f":{label}:{zsh_action(option, function)}" if option["value"] else ""
        star = "*" if option["many"] else ""
        specs.append(f"'{star}{flag}[{zsh_text(option['help'])}]{value}'")
    return specs


def zsh_function(app, path, root_flags, function):
    own = "_".join([function, *[shell_name(word) for word in path[1:]]])
    seen = {flag for option in flags(app) for flag in option["names"]}
    shared = [] if len(path) == 1 else [option for option in root_flags if not seen & set(option["names"])]
    specs = [spec for option in flags(app) + shared for spec in zsh_option(option, function)]
    lines = [f"{own}() {{"]
    if not app["commands"]:
        for option in positionals(app):
            place = "*" if option["many"] else ""
            optional = "" if option["required"] or option["many"] else ":"
            specs.append(f"'{place}:{optional}{option['positional']}:{zsh_action(option, function)}'")
        lines += ["  _arguments -s \\"] + [f"    {spec} \\" for spec in specs[:-1]] + [f"    {specs[-1]}", "}"]
        return lines
    lines += ["  local curcontext=$curcontext state line", "  local -a commands"]
    lines += ["  commands=("] + [f"    '{child['name']}:{zsh_text(child['help'])}'" for child in app["commands"]] + ["  )"]
    lines += ["  _arguments -C -s \\"] + [f"    {spec} \\" for spec in specs] + ["    '1: :->command' '*:: :->rest'"]
    lines += ["  case $state in", "    command) _describe command commands ;;", "    rest)", "      case $line[1] in"]
    for child in app["commands"]:
        lines.append(f"        {child['name']}) {own}_{shell_name(child['name'])} ;;")
    lines += ["      esac ;;", "  esac", "}"]
    return lines


def zsh(app):
    name, function = app["name"], "_" + shell_name(app["name"])
    lines = [f"#compdef {name}", f"# zsh completion of {name}, made from its own definition of its command line. Do not edit.", "",
             f"{function}_queues() {{", "  local -a queues",
             "  queues=(${(f)\"$(jobq --timeout 300ms --json queue ls 2>/dev/null | grep -o '\"name\":\"[^\"]*\"' | cut -d'\"' -f4)\"})",
             "  compadd -a queues", "}", ""]
    for path, command in reversed(list(commands_of(app, [name]))):
        lines += zsh_function(command, path, flags(app), function) + [""]
    lines += [f"if [[ $funcstack[1] == {function} ]]; then", f'  {function} "$@"', "else", f"  compdef {function} {name}", "fi"]
    return "\n".join(lines) + "\n"


def main(arguments):
    program, form = arguments[0], arguments[1]
    app = definition_of(program)
    made = {"man": lambda: man(app, arguments[2]), "bash": lambda: bash(app), "zsh": lambda: zsh(app)}[form]()
    sys.stdout.write(made)


if __name__ == "__main__":
    main(sys.argv[1:])
