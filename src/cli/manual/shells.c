/* Completions for bash, zsh and fish. Each file has the tables' words in the shell's own syntax
 * and a few functions that choose among them; they need neither Cohort nor other packages. */
#include <string.h>

#include "cli/manual/manual.h"

/* TEXT within single quotes: ' ends them, stands for itself, begins them again. What stands in
 * ALSO gets a backslash before it. */
static void append_quoted(cohort_text *out, const char *text, const char *also)
{
    for (; *text; text++) {
        if (*text == '\'')
            cohort_text_append(out, "'\\''");
        else
            cohort_text_append(out, "%s%c", strchr(also, *text) ? "\\" : "", *text);
    }
}

/* The words after `cohort help`, and first of all. */
static void append_commands(cohort_text *out, const cohort_manual *manual)
{
    for (size_t i = 0; i < manual->page_count; i++)
        if (!manual->pages[i].is_part)
            cohort_text_append(out, "%s ", manual->pages[i].name);
}

/* A page's words and files: formats instead of what the usage says where it has parts. */
static cohort_completion arguments_of(const cohort_manual *manual, size_t at)
{
    cohort_completion completion = cohort_completion_of_usage(manual->pages[at].usage);
    if (!manual->pages[at].has_parts)
        return completion;
    completion = (cohort_completion){.how = "none"};
    for (at++; at < manual->page_count && manual->pages[at].is_part; at++) {
        const size_t used = strlen(completion.words);
        const char *word = strchr(manual->pages[at].name, ' ') + (used == 0);
        if (used + strlen(word) < sizeof completion.words)
            strcpy(completion.words + used, word);
    }
    return completion;
}

static const char head[] = "# Written by the build from the tables behind `cohort --help`.\n";

/* Cases of a shell's `case` or `switch`: which words may follow a key. */
static void append_key_cases(cohort_text *out, const cohort_manual *manual, const char *before,
                             const char *after)
{
    for (size_t i = 0; i < manual->key_count; i++)
        if (*manual->keys[i].values)
            cohort_text_append(out, "%s%s%s'%s'%s\n", before, manual->keys[i].path,
                               *after == ')' ? ") words=" : "\n            string split ' ' -- ",
                               manual->keys[i].values, *after == ')' ? " ;;" : "");
}

static void append_keys(cohort_text *out, const cohort_manual *manual)
{
    for (size_t i = 0; i < manual->key_count; i++)
        cohort_text_append(out, "%s%s=",
                           i == 0  ? ""
                           : i % 4 ? " "
                                   : "\n        ",
                           manual->keys[i].path);
}

/* --- bash --------------------------------------------------------------------------- */

/* Words are taken from COMP_LINE, since bash cuts them at "=". */
static const char bash_functions[] =
    "# WORDS HOW WORD: see the calls.\n"
    "_cohort_values() {\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$3\")\n"
    "    case $2 in\n"
    "        none) ;;\n"
    "        keys) _cohort_keys \"$3\" ;;\n"
    "        programs) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -c -- \"$3\") ;;\n"
    "        *)\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            local name\n"
    "            while IFS= read -r name; do\n"
    "                [[ -d $name || $2 == any || ($2 != folders && $name =~ \\.($2)$) ]] &&\n"
    "                    COMPREPLY+=(\"$name\")\n"
    "            done < <(compgen -f -- \"$3\")\n"
    "            ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_cohort() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words current option='' page\n"
    "    read -ra words <<<\"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && words+=('')\n"
    "    local last=$((${#words[@]} - 1))\n"
    "    current=${words[last]}\n"
    "    COMPREPLY=()\n"
    "    page=${words[1]}\n"
    "    [[ $page == convert && $last -gt 2 ]] && page=\"convert ${words[2]}\"\n"
    "    ((last < 2)) && page=''\n"
    "    if [[ $current == --*=* ]]; then\n"
    "        option=${current%%=*}\n"
    "        current=${current#*=}\n"
    "    elif ((last > 2)); then\n"
    "        option=${words[last - 1]}\n"
    "    fi\n"
    "    _cohort_page \"$page\" \"$option\" \"$current\"\n"
    "}\n"
    "complete -F _cohort cohort\n";

static const char bash_keys[] = "    if [[ $1 != *=* ]]; then\n"
                                "        compopt -o nospace 2>/dev/null\n"
                                "        mapfile -t COMPREPLY < <(compgen -W \"$keys\" -- \"$1\")\n"
                                "        return\n"
                                "    fi\n"
                                "    local words=''\n"
                                "    case ${1%%=*} in\n";

static const char bash_keys_end[] =
    "    esac\n"
    "    local before=''\n"
    "    [[ $COMP_WORDBREAKS == *=* ]] || before=${1%%=*}=\n"
    "    mapfile -t COMPREPLY < <(compgen -P \"$before\" -W \"$words\" -- \"${1#*=}\")\n"
    "}\n\n";

static void bash_page(cohort_text *out, const cohort_manual *manual, size_t at)
{
    const cohort_manual_page *page = &manual->pages[at];
    const cohort_completion arguments = arguments_of(manual, at);
    cohort_text_append(out, "        '%s '*)\n            options='", page->name);
    for (size_t i = 0; i < page->option_count; i++)
        cohort_text_append(out, "--%s ", page->options[i].name);
    cohort_text_append(out, "--help' words='%s' how='%s'\n            case $2 in\n",
                       arguments.words, arguments.how);
    for (size_t i = 0; i < page->option_count; i++) {
        const cohort_option *option = &page->options[i];
        const cohort_completion value = cohort_completion_of_value(option->value_name);
        if (option->value_name)
            cohort_text_append(out, "                --%s) options='' words='%s' how='%s' ;;\n",
                               option->name, value.words, value.how);
    }
    cohort_text_append(out, "            esac\n            ;;\n");
}

void cohort_manual_write_bash(cohort_text *out, const cohort_manual *manual)
{
    cohort_text_append(out, "%s# shellcheck shell=bash\n\n_cohort_keys() {\n    local keys='",
                       head);
    append_keys(out, manual);
    cohort_text_append(out, "'\n%s", bash_keys);
    append_key_cases(out, manual, "        ", ")");
    cohort_text_append(out,
                       "%s# PAGE OPTION WORD: OPTION is what stands before WORD.\n"
                       "_cohort_page() {\n    local options='' words='' how=none\n"
                       "    case \"$1 \" in\n        ' ')\n            options='--help --version'"
                       " words='",
                       bash_keys_end);
    append_commands(out, manual);
    cohort_text_append(out, "help'\n            ;;\n        'help '*)\n            words='");
    append_commands(out, manual);
    cohort_text_append(out, "recipe'\n            ;;\n");
    /* "convert csv" before "convert". */
    for (int parts = 1; parts >= 0; parts--)
        for (size_t i = 0; i < manual->page_count; i++)
            if (manual->pages[i].is_part == (parts == 1))
                bash_page(out, manual, i);
    cohort_text_append(out,
                       "    esac\n"
                       "    if [[ $3 == -* && -n $options ]]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$3\")\n"
                       "    else\n"
                       "        _cohort_values \"$words\" \"$how\" \"$3\"\n"
                       "    fi\n}\n\n%s",
                       bash_functions);
}

/* --- zsh ---------------------------------------------------------------------------- */

static const char zsh_functions[] = "# WORDS HOW: see the calls.\n"
                                    "_cohort_values() {\n"
                                    "  local found=1\n"
                                    "  [[ -n $1 ]] && compadd -- ${=1} && found=0\n"
                                    "  case $2 in\n"
                                    "    none) ;;\n"
                                    "    keys) _cohort_keys && found=0 ;;\n"
                                    "    programs) _command_names -e && found=0 ;;\n"
                                    "    folders) _files -/ && found=0 ;;\n"
                                    "    any) _files && found=0 ;;\n"
                                    "    *) _files -g \"*.($2)(-.)\" && found=0 ;;\n"
                                    "  esac\n"
                                    "  return found\n"
                                    "}\n\n";

static void zsh_option(cohort_text *out, const cohort_option *option)
{
    cohort_text_append(out, "      '%s--%s%s[", option->repeatable ? "*" : "", option->name,
                       option->value_name ? "=" : "");
    append_quoted(out, option->help, "[]\\");
    cohort_text_append(out, "]");
    if (option->value_name) {
        const cohort_completion value = cohort_completion_of_value(option->value_name);
        cohort_text_append(out, ":");
        append_quoted(out, *value.words ? option->name : option->value_name, ":\\");
        cohort_text_append(out, ": _cohort_values \"%s\" \"%s\"", value.words, value.how);
    }
    cohort_text_append(out, "' \\\n");
}

static void zsh_page(cohort_text *out, const cohort_manual *manual, size_t at)
{
    const cohort_manual_page *page = &manual->pages[at];
    const cohort_completion arguments = arguments_of(manual, at);
    const char *name = page->is_part ? strchr(page->name, ' ') + 1 : page->name;
    cohort_text_append(out, "    %s) _arguments -s \\\n", name);
    for (size_t i = 0; i < page->option_count; i++)
        zsh_option(out, &page->options[i]);
    cohort_text_append(out,
                       "      '--help[print how to use it]' \\\n      '*:argument: "
                       "_cohort_values \"%s\" \"%s\"' ;;\n",
                       arguments.words, arguments.how);
}

/* "'train:Train the network of a recipe'", a line each. */
static void zsh_descriptions(cohort_text *out, const cohort_manual *manual, bool parts)
{
    for (size_t i = 0; i < manual->page_count; i++) {
        const cohort_manual_page *page = &manual->pages[i];
        if (page->is_part != parts)
            continue;
        cohort_text_append(out, "    '%s:", parts ? strchr(page->name, ' ') + 1 : page->name);
        append_quoted(out, page->summary, "");
        cohort_text_append(out, "'\n");
    }
}

/* A function that completes one of several words and then what follows it. */
static void zsh_level(cohort_text *out, const cohort_manual *manual, bool parts)
{
    cohort_text_append(out,
                       "%s() {\n  local curcontext=$curcontext state line\n"
                       "  local -a choices=(\n",
                       parts ? "_cohort_convert" : "_cohort");
    zsh_descriptions(out, manual, parts);
    cohort_text_append(out,
                       "%s  )\n  _arguments -C '(- *)--help[print what there is]' \\\n%s"
                       "    '1:%s:->choose' '*::argument:->choice' && return\n"
                       "  if [[ $state == choose ]]; then\n    _describe '%s' choices\n"
                       "    return\n  fi\n  case $words[1] in\n",
                       parts ? "" : "    'help:Show how to use a command'\n",
                       parts ? "" : "    '(- *)--version[print version and libraries]' \\\n",
                       parts ? "format" : "command", parts ? "format" : "command");
    for (size_t i = 0; i < manual->page_count; i++) {
        if (manual->pages[i].is_part != parts)
            continue;
        if (manual->pages[i].has_parts)
            cohort_text_append(out, "    %s) _cohort_convert ;;\n", manual->pages[i].name);
        else
            zsh_page(out, manual, i);
    }
    if (!parts) {
        cohort_text_append(out, "    help) _arguments '*:command: _cohort_values \"");
        append_commands(out, manual);
        cohort_text_append(out, "recipe\" none' ;;\n");
    }
    cohort_text_append(out, "  esac\n}\n\n");
}

void cohort_manual_write_zsh(cohort_text *out, const cohort_manual *manual)
{
    cohort_text_append(out,
                       "#compdef cohort\n%s\n_cohort_keys() {\n  local words=''\n"
                       "  local -a keys=(",
                       head);
    append_keys(out, manual);
    cohort_text_append(out, ")\n  if ! compset -P 1 '*='; then\n    compadd -S '' -- $keys\n"
                            "    return\n  fi\n  case ${${IPREFIX%%=}#--set=} in\n");
    append_key_cases(out, manual, "    ", ")");
    cohort_text_append(out, "  esac\n  [[ -n $words ]] && compadd -- ${=words}\n}\n\n%s",
                       zsh_functions);
    zsh_level(out, manual, true);
    zsh_level(out, manual, false);
    cohort_text_append(out, "_cohort \"$@\"\n");
}

/* --- fish --------------------------------------------------------------------------- */

static const char fish_functions[] =
    "\n# Whether the words so far are those, or begin with them.\n"
    "function __cohort_only\n"
    "    set -l words (commandline -opc)\n"
    "    set -e words[1]\n"
    "    test \"$words\" = \"$argv\"\n"
    "end\n"
    "function __cohort_in\n"
    "    set -l words (commandline -opc)\n"
    "    set -e words[1]\n"
    "    string match -q -- \"$argv *\" \"$words \"\n"
    "end\n"
    "\n# WORDS HOW: see the calls.\n"
    "function __cohort_values --argument-names words how\n"
    "    set -l word (commandline -ct | string replace -r '^--[^=]*=' '')\n"
    "    test -n \"$words\"; and string split ' ' -- $words\n"
    "    switch $how\n"
    "        case none\n"
    "        case keys\n"
    "            __cohort_keys $word\n"
    "        case programs\n"
    "            complete -C $word\n"
    "        case folders\n"
    "            __fish_complete_directories $word\n"
    "        case any\n"
    "            __fish_complete_path $word\n"
    "        case '*'\n"
    "            __fish_complete_path $word | string match -er "
    "\"^[^\\t]*(?:/|\\.(?:$how))(?:\\t|\\$)\"\n"
    "    end\n"
    "end\n\n"
    "complete -c cohort -f\n"
    "complete -c cohort -l help -d 'print how to use it'\n"
    "complete -c cohort -n '__cohort_only' -l version -d 'print version and libraries'\n"
    "complete -c cohort -n '__cohort_only' -a help -d 'Show how to use a command'\n";

static void fish_page(cohort_text *out, const cohort_manual *manual, size_t at)
{
    const cohort_manual_page *page = &manual->pages[at];
    const cohort_completion arguments = arguments_of(manual, at);
    const char *space = strchr(page->name, ' ');
    cohort_text_append(out, "\ncomplete -c cohort -n '__cohort_only%s' -a %s -d '",
                       page->is_part ? " convert" : "", space ? space + 1 : page->name);
    append_quoted(out, page->summary, "\\");
    cohort_text_append(out, "'\n");
    if (!page->has_parts)
        cohort_text_append(out,
                           "complete -c cohort -n '__cohort_in %s' -a '(__cohort_values \"%s\" "
                           "\"%s\")'\n",
                           page->name, arguments.words, arguments.how);
    for (size_t i = 0; i < page->option_count; i++) {
        const cohort_option *option = &page->options[i];
        const cohort_completion value = cohort_completion_of_value(option->value_name);
        cohort_text_append(out, "complete -c cohort -n '__cohort_in %s' -l %s ", page->name,
                           option->name);
        if (option->value_name)
            cohort_text_append(out, "-x -a '(__cohort_values \"%s\" \"%s\")' ", value.words,
                               value.how);
        cohort_text_append(out, "-d '");
        append_quoted(out, option->help, "\\");
        cohort_text_append(out, "'\n");
    }
}

void cohort_manual_write_fish(cohort_text *out, const cohort_manual *manual)
{
    cohort_text_append(out,
                       "%s\nfunction __cohort_keys --argument-names word\n"
                       "    if not string match -q '*=*' -- $word\n"
                       "        string split -n ' ' -- '",
                       head);
    for (size_t i = 0; i < manual->key_count; i++)
        cohort_text_append(out, "%s%s=", i ? " " : "", manual->keys[i].path);
    cohort_text_append(out, "'\n        return\n    end\n"
                            "    set -l key (string split -m1 = -- $word)[1]\n"
                            "    for value in (__cohort_key_values $key)\n"
                            "        echo $key=$value\n    end\nend\n"
                            "function __cohort_key_values --argument-names key\n"
                            "    switch $key\n");
    append_key_cases(out, manual, "        case ", "");
    cohort_text_append(out, "    end\nend\n%s", fish_functions);
    cohort_text_append(out, "complete -c cohort -n '__cohort_only help' -a '");
    append_commands(out, manual);
    cohort_text_append(out, "recipe'\n");
    for (size_t i = 0; i < manual->page_count; i++)
        fish_page(out, manual, i);
}
