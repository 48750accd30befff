# Cuts the code blocks of a Markdown file into steps, numbered files in the current folder:
#   N.do    a command to run (of a `sh` block, or after `$ ` in a `console` block), or the content
#           of a file (a block of another language, whose first line is a comment with its name)
#   N.want  what a `console` block says that it prints
#   N.kind  "command", "console" or "file NAME"
# A line that ends in \ goes on in the next one. Blocks that are neither are an error.
function begin(kind) {
    n++
    print kind >(n ".kind")
    printf "" >(n ".do")
    printf "" >(n ".want")
}

function fail(text) {
    print FILENAME ", line " NR ": " text >"/dev/stderr"
    failed = 1
    exit 1
}

!block && /^```/ {
    language = substr($0, 4)
    block = 1
    fresh = 1
    open = 0
    next
}

/^```/ {
    block = 0
    next
}

!block { next }

language == "console" {
    if (sub(/^\$ /, "") || open) {
        if (!open) begin("console")
        print >(n ".do")
        open = /\\$/
    } else if (fresh) fail("a console block begins with a command, after `$ `")
    else print >(n ".want")
    fresh = 0
    next
}

language == "sh" {
    if (/^ *(#.*)?$/ && !open) next
    if (!open) begin("command")
    print >(n ".do")
    open = /\\$/
    next
}

fresh {
    if (!match($0, /^(# |\/\* |! )[^ :]+/)) fail("the first line of a block of " language " is a comment with the name of the file")
    name = substr($0, RSTART, RLENGTH)
    sub(/^[^ ]+ /, "", name)
    begin("file " name)
    fresh = 0
}

{ print >(n ".do") }

END { if (!failed && block) fail("the last block has no end") }
