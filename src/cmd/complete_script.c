/* SPDX-License-Identifier: Apache-2.0 */
/* The shells' halves of completion: each asks `PROGRAM help --complete -- WORDS`. */
#include <string.h>

#include "base/scope.h"
#include "cmd/complete.h"

/* bash cuts words at '=', ':' and '@' too (COMP_WORDBREAKS) and replaces the last piece only: the
 * pieces are put together again, and what stands before the last one is taken off each answer. */
static const char bash_script[] =
    "# bash completion for twinax; made by `twinax help --completion bash`\n"
    "_twinax()\n"
    "{\n"
    "    local rest=${COMP_LINE:0:COMP_POINT} piece how line word i\n"
    "    local -a typed=() lines=()\n"
    "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "        piece=${COMP_WORDS[i]}\n"
    "        if ((i > 0)) && [[ $rest != [[:space:]]* ]]; then\n"
    "            ((i == COMP_CWORD)) && piece=$rest\n"
    "            typed[${#typed[@]} - 1]+=$piece\n"
    "        else\n"
    "            rest=${rest#\"${rest%%[![:space:]]*}\"}\n"
    "            ((i == COMP_CWORD)) && piece=$rest\n"
    "            typed+=(\"$piece\")\n"
    "        fi\n"
    "        rest=${rest#\"$piece\"}\n"
    "    done\n"
    "    [[ $piece == [=:@] ]] && piece=\n"
    "    local before=${typed[${#typed[@]} - 1]}\n"
    "    before=${before%\"$piece\"}\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        lines+=(\"$line\")\n"
    "    done < <(\"${typed[0]/#\\~\\//$HOME/}\" help --complete -- \"${typed[@]}\" 2>/dev/null)\n"
    "    how=${lines[0]-}\n"
    "    for line in \"${lines[@]:1}\"; do\n"
    "        word=${line%%$'\\t'*}\n"
    "        printf -v word %q \"${word#\"$before\"}\"\n"
    "        COMPREPLY+=(\"$word\")\n"
    "    done\n"
    "    case $how in\n"
    "    *files*)\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen -f -- "
    "\"$piece\")\n"
    "        ;;\n"
    "    *dirs*)\n"
    "        while IFS= read -r line; do\n"
    "            COMPREPLY+=(\"$line/\")\n"
    "            compopt -o nospace 2>/dev/null\n"
    "        done < <(compgen -d -- \"$piece\")\n"
    "        ;;\n"
    "    nospace*) compopt -o nospace 2>/dev/null ;;\n"
    "    esac\n"
    "}\n"
    "complete -F _twinax twinax\n";

static const char zsh_script[] =
    "#compdef twinax\n"
    "# zsh completion for twinax; made by `twinax help --completion zsh`\n"
    "_twinax()\n"
    "{\n"
    "    local how line\n"
    "    local -a typed lines answers shown suffix\n"
    "    typed=(\"${(@)words[1,CURRENT-1]}\" \"$PREFIX\")\n"
    "    lines=(\"${(@f)$(\"${(Q)typed[1]/#\\~\\//$HOME/}\" help --complete -- "
    "\"${(@Q)typed}\" 2>/dev/null)}\")\n"
    "    how=$lines[1]\n"
    "    for line in \"${(@)lines[2,-1]}\"; do\n"
    "        answers+=(\"${line%%$'\\t'*}\")\n"
    "        shown+=(\"${line%%$'\\t'*}  -- ${line#*$'\\t'}\")\n"
    "    done\n"
    "    [[ $how == nospace* ]] && suffix=(-S '')\n"
    "    (( $#answers )) && compadd -l -d shown $suffix -a answers\n"
    "    [[ $how == *(files|dirs)* && $PREFIX == --*=* ]] && compset -P '*='\n"
    "    case $how in\n"
    "    *files*) _files ;;\n"
    "    *dirs*) _files -/ ;;\n"
    "    esac\n"
    "    return 0\n"
    "}\n"
    "[[ $funcstack[1] == _twinax ]] && _twinax \"$@\"\n"
    "(( $+functions[compdef] )) && compdef _twinax twinax\n";

static const char fish_script[] =
    "# fish completion for twinax; made by `twinax help --completion fish`\n"
    "function __twinax_complete\n"
    "    set -l typed (commandline -opc) (commandline -ct)\n"
    "    set -l program (string replace -r '^~/' \"$HOME/\" -- $typed[1])\n"
    "    set -l lines ($program help --complete -- $typed 2>/dev/null)\n"
    "    for line in $lines[2..-1]\n"
    "        echo $line\n"
    "    end\n"
    "    switch \"$lines[1]\"\n"
    "        case '*files*'\n"
    "            __fish_complete_path (commandline -ct)\n"
    "        case '*dirs*'\n"
    "            __fish_complete_directories (commandline -ct) ''\n"
    "    end\n"
    "end\n"
    "complete -c twinax -f -a '(__twinax_complete)'\n";

const char *tw_complete_script(const char *shell)
{
    static const struct {
        const char *shell, *text;
    } scripts[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    for (size_t i = 0; i < TW_ARRAY_LEN(scripts); i++)
        if (strcmp(scripts[i].shell, shell) == 0)
            return scripts[i].text;
    return NULL;
}
