"""How bash, zsh and fish are told what fits: a script for each, and what it asks the program.

The scripts of click would do, but for words with ``=`` or ``:`` in them (``--codec=net``, ``unix:/run/``): bash cuts
words there, and the other two replace the whole word. So the scripts hand over the line up to the cursor, the answer is
whole words, and the script of bash cuts off what bash would write twice.
"""

import os
from typing import Final

from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

__all__ = ["SHELLS", "shell_complete"]

_BASH: Final = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} breaks= cut= word kind value help
    word=${line##*[[:space:]]}
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
    [[ -n $breaks && $word == *[$breaks]* ]] && cut=${word%%"${word##*[$breaks]}"}
    COMPREPLY=()
    while IFS=$'\\t' read -r kind value help; do
        case $kind in
            file) compopt -o default ;;
            open) compopt -o nospace; COMPREPLY+=("${value#"$cut"}") ;;
            plain) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done < <(%(complete_var)s=bash_complete COMP_LINE=$line "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH: Final = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local line kind value help
    local -a closed open file
    line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    while IFS=$'\\t' read -r kind value help; do
        value="${${value//\\\\/\\\\\\\\}//:/\\\\:}${help:+:$help}"
        case $kind in
            file) file=(1) ;;
            open) open+=("$value") ;;
            plain) closed+=("$value") ;;
        esac
    done < <(%(complete_var)s=zsh_complete COMP_LINE=$line $words[1] 2>/dev/null)
    (( $#closed )) && _describe -V %(prog_name)s closed
    (( $#open )) && _describe -V %(prog_name)s open -S ''
    if (( $#file )); then
        [[ $PREFIX == -*=* ]] && compset -P '*='
        _files
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH: Final = """\
function %(complete_func)s
    set -l line (commandline -cp)
    for answer in (env %(complete_var)s=fish_complete COMP_LINE="$line" %(prog_name)s 2>/dev/null)
        set -l parts (string split \\t -- $answer)
        if test $parts[1] = file
            set -l flag (string match -r '^-[^=]*=' -- (commandline -ct))
            for path in (__fish_complete_path (string replace -r '^-[^=]*=' '' -- (commandline -ct)))
                printf '%%s\\n' "$flag$path"
            end
        else
            printf '%%s\\t%%s\\n' $parts[2] "$parts[3]"
        end
    end
end
complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class _Shell(ShellComplete):
    """A shell whose script sends the line up to the cursor, and gets lines of kind, word and description.

    The kinds: ``plain``; ``open``, after which no space follows; ``file``, for the shell's own completion of paths.
    """

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the whole words after the program's name, and the last one, which may go on."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1].isspace() else ""
        return words[1:], incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return what fits: whole words."""
        found = super().get_completions(args, incomplete)
        flag, sign, _ = incomplete.partition("=")
        if not (sign and flag.startswith("-")):
            return found
        return [
            CompletionItem(f"{flag}={item.value}", item.type, item.help) if item.type == "plain" else item
            for item in found
        ]

    def format_completion(self, item: CompletionItem) -> str:
        """Write one line."""
        kind = "open" if item.type == "plain" and item.value.endswith((":", "/")) else item.type
        return "\t".join([kind, item.value, " ".join((item.help or "").replace("``", "").split())])


class Bash(_Shell):
    """bash, 4.4 and newer."""

    name = "bash"
    source_template = _BASH


class Zsh(_Shell):
    """zsh."""

    name = "zsh"
    source_template = _ZSH


class Fish(_Shell):
    """fish."""

    name = "fish"
    source_template = _FISH


SHELLS: Final[dict[str, type[_Shell]]] = {shell.name: add_completion_class(shell) for shell in (Bash, Zsh, Fish)}
