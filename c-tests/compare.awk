# Compares what a program reported on stock and on sesscache. Prints what is wrong; exits 1 if any.
#
# libssl: words of behaviours/behaviours.c, one for each behaviour that this libssl has.
#
# awk -f compare.awk -v test=NAME -v libssl="WORD..." \
#     part=listed differences.txt part=stock STOCK_OUTPUT part=ours OUR_OUTPUT

function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }

function wrong(text) { print "  " text; failed = 1 }

# A report name with `*` as a regular expression.
function expression(pattern) {
    gsub(/[][\\.^$+?(){}|]/, "\\\\&", pattern)
    gsub(/\*/, ".*", pattern)
    return "^" pattern "$"
}

# Whether a line of differences.txt is about this libssl: any, a behaviour, or !behaviour.
function applies(condition) {
    if (condition == "any") return 1
    if (condition ~ /^!/) return !has(substr(condition, 2))
    return has(condition)
}

function has(behaviour) { return index(" " libssl " ", " " behaviour " ") > 0 }

/^#/ || /^[ \t]*$/ { next }

part == "listed" {
    if (split($0, field, /\|/) != 6 || trim(field[6]) == "") {
        wrong("differences.txt:" FNR ": not `test | line | libssl | stock | ours | reason`")
        next
    }
    if (trim(field[1]) != test || !applies(trim(field[3])))
        next
    count++
    source[count] = FNR
    name[count] = expression(trim(field[2]))
    stock_value[count] = trim(field[4])
    our_value[count] = trim(field[5])
    next
}

{
    colon = index($0, ": ")
    if (colon == 0) { wrong("not a report line: " $0); next }
    line = substr($0, 1, colon - 1)
    value = substr($0, colon + 2)
}

part == "stock" {
    if (line in stock) wrong("reported twice: " line)
    stock[line] = value
}

part == "ours" {
    if (line in ours) wrong("reported twice: " line)
    ours[line] = value
}

END {
    for (line in stock)
        if (!(line in ours)) wrong("only stock reports: " line ": " stock[line])
    for (line in ours) {
        if (!(line in stock)) { wrong("only sesscache reports: " line ": " ours[line]); continue }
        listed = 0
        for (i = 1; i <= count; i++) {
            if (line !~ name[i]) continue
            if (stock[line] == ours[line]) {
                wrong("the difference at differences.txt:" source[i] " vanished: " line ": " \
                    ours[line])
            } else if (stock[line] == stock_value[i] && ours[line] == our_value[i]) {
                listed = 1
                seen[i] = 1
            }
        }
        if (stock[line] != ours[line] && !listed)
            wrong(line ": stock " stock[line] ", sesscache " ours[line] " (not in differences.txt)")
    }
    for (i = 1; i <= count; i++)
        if (!seen[i]) wrong("the difference at differences.txt:" source[i] " did not appear")
    exit failed
}
