# Turns the bank's CSV (tests/data) into events, one JSON object a line, for `tally import`.
#
# Amounts are copied as the text they are: a float never touches them. The event id is made from trans_id, so importing a file twice, or again
# after a crash, appends nothing twice. Accounts with an odd number live in the partition of region us, the others in that of eu.
# A row that is not understood ends the run with exit 1 and its line number: guessing with money is worse than stopping.
# Works with any POSIX awk (Debian's is mawk).

BEGIN {
    FS = ";"
    known["PRIJEM", "VKLAD", ""] = "CashDeposited"
    known["PRIJEM", "", "UROK"] = "InterestCredited"
    known["PRIJEM", "PREVOD Z UCTU", ""] = "TransferReceived"
    known["PRIJEM", "PREVOD Z UCTU", "DUCHOD"] = "PensionReceived"
    debit("VYBER", "", "CashWithdrawn")
    debit("VYBER", "SIPO", "CashWithdrawn")
    debit("VYBER", "SLUZBY", "FeeCharged")
    debit("VYBER", "SANKC. UROK", "PenaltyInterestCharged")
    debit("VYBER KARTOU", "", "CardWithdrawal")
    debit("PREVOD NA UCET", "", "TransferSent")
    debit("PREVOD NA UCET", "SIPO", "TransferSent")
    debit("PREVOD NA UCET", "LEASING", "TransferSent")
    debit("PREVOD NA UCET", "POJISTNE", "TransferSent")
    debit("PREVOD NA UCET", "UVER", "TransferSent")
}

# The bank writes debits as VYDAJ or VYBER.
function debit(operation, k_symbol, type) {
    known["VYDAJ", operation, k_symbol] = type
    known["VYBER", operation, k_symbol] = type
}

function fail(why) {
    printf "berka.awk: line %d: %s: %s\n", NR, why, $0 > "/dev/stderr"
    failed = 1
    exit 1
}

# A quoted field's text; a field of blanks only is empty.
function text(field) {
    if (field !~ /^("[^"\\]*")?$/)
        fail("a field is not plain quoted text")
    gsub(/"/, "", field)
    return field ~ /^ *$/ ? "" : field
}

function member(name, value) {
    return value == "" ? "" : ",\"" name "\":\"" value "\""
}

{ sub(/\r$/, "") }

NR == 1 {
    if ($0 != "\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\"amount\";\"balance\";\"k_symbol\";\"bank\";\"account\"")
        fail("the header is not the one expected")
    next
}

{
    if (NF != 10)
        fail("not 10 fields")
    if ($1 !~ /^[1-9][0-9]*$/ || length($1) > 9 || $2 !~ /^[1-9][0-9]*$/ || length($2) > 9)
        fail("trans_id or account_id is not a small number")
    if ($3 !~ /^9[0-9][01][0-9][0-3][0-9]$/)
        fail("the date is not YYMMDD of the 1990s")
    if ($6 !~ /^[0-9]+\.[0-9][0-9]$/)
        fail("the amount is not a decimal with two places")
    direction = text($4)
    operation = text($5)
    k_symbol = text($8)
    if (!((direction, operation, k_symbol) in known))
        fail("no event type for this type, operation and k_symbol")

    payload = sprintf("\"trans_id\":%s,\"account\":%s,\"date\":\"19%s-%s-%s\",\"amount\":\"%s\"", $1, $2, substr($3, 1, 2), substr($3, 3, 2),
                      substr($3, 5, 2), $6)
    payload = payload member("operation", operation) member("k_symbol", k_symbol) member("counterparty_bank", text($9)) \
              member("counterparty_account", text($10))
    printf "{\"id\":\"00000000-0000-8000-8000-%012x\",\"context\":\"bank\",\"partition\":\"%s\",\"stream\":\"account-%s\",\"type\":\"%s\",\"content_type\":\"application/json\",\"payload\":{%s}}\n",
           $1, $2 % 2 == 1 ? "us" : "eu", $2, known[direction, operation, k_symbol], payload
}

END {
    if (!failed && NR < 2) {
        print "berka.awk: no rows" > "/dev/stderr"
        exit 1
    }
}
