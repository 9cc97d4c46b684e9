#!/usr/bin/env bash
# Plants one violation of each kind in an empty tree of the same shape and sees lint name it. A rule that nobody has seen fail is not a rule.
set -eu
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
find include src tools -type d -exec mkdir -p "$copy/{}" \;
mkdir -p "$copy/tools/verify"
planted=0

# expect RULE FILE: the code on standard input, behind an opening comment, must be named as a violation of RULE.
expect() {
    local rule=$1 file=$2 output code=0
    { echo '/* Planted. */'; cat; } > "$copy/$file"
    output=$(/usr/bin/python3 tools/lint/lint.py "$copy") || code=$?
    rm "$copy/$file"
    if [ "$code" != 1 ] || ! grep -qF -e "$file:" <<< "$output" || ! grep -F -e "$file:" <<< "$output" | grep -qF "[$rule]"; then
        echo "planted $rule in $file: lint exited $code and said: $(grep -F "$file:" <<< "$output" || echo nothing)" >&2
        exit 1
    fi
    planted=$((planted + 1))
}

# accept FILE: lint must have nothing to say about it.
accept() {
    local file=$1 output
    { echo '/* Planted: malloc(1) in a comment is fine. */'; cat; } > "$copy/$file"
    output=$(/usr/bin/python3 tools/lint/lint.py "$copy") || true
    rm "$copy/$file"
    if grep -qF -e "$file:" <<< "$output"; then
        echo "lint refuses what is fine: $output" >&2
        exit 1
    fi
}

accept src/log/planted.c <<< '#include "entry/entry.h"
const char *text = "malloc(1) \" free(x)"; // strcpy(a, b)'
accept src/rpc/planted.c <<< '#include "client/decode.h"'
accept tools/planted.c <<< 'int main(void) { printf("hello"); }'

expect layer src/base/planted.c <<< '#include "log/log.h"'
expect layer src/entry/planted.c <<< '#include "domain/stream.h"'
expect layer src/log/planted.c <<< '#include "index/index.h"'
expect layer src/replication/planted.c <<< '#include "projection/projection.h"'
expect layer src/region/planted.c <<< '#include "rpc/rpc.h"'
expect layer src/client/planted.c <<< '#include "rpc/rpc.h"'
expect layer src/rpc/planted.c <<< '#include "server/config.h"'
expect layer tools/verify/planted.c <<< '#include "index/index.h"'
expect layer tools/verify/planted.c <<< '#include "client/channel.h"'
expect layer include/tally/planted.h <<< '#include "base/err.h"'
expect library src/index/planted.c <<< '#include <rocksdb/c.h>'
expect library src/projection/planted.c <<< '#include <sqlite3.h>'
expect library src/projection/planted.c <<< '#include <libpq-fe.h>'
expect library src/server/planted.c <<< '#include <libpq-fe.h>'
expect library src/crypto/planted.c <<< '#include <openssl/evp.h>'
expect library src/region/planted.c <<< '#include <grpc/grpc.h>'
expect library tools/planted.c <<< '#include "tally/v1/ledger.pb-c.h"'
expect library src/region/planted.c <<< '#include <cyaml/cyaml.h>'
expect library src/rpc/planted.c <<< '#include <microhttpd.h>'
expect library src/admin/planted.c <<< '#include <microhttpd.h>'
expect library src/server/planted.c <<< '#include <curl/curl.h>'
expect library src/outside/planted.c <<< '#include <curl/curl.h>'
expect library src/server/planted.c <<< '#include <jansson.h>'
expect layer src/outside/planted.c <<< '#include "rpc/rpc.h"'
expect layer src/admin/planted.c <<< '#include "rpc/rpc.h"'
expect memory src/log/planted.c <<< 'void *f(void) { return malloc(1); }'
expect memory tools/planted.c <<< 'void f(void *p) { free(p); }'
expect memory src/log/planted.c <<< 'char *f(void) { return strdup(""); }'
expect unsafe src/log/planted.c <<< 'void f(char *p, const char *q) { strcpy(p, q); }'
expect unsafe src/log/planted.c <<< 'void f(char *p) { sprintf(p, "%d", 1); }'
expect unsafe tools/planted.c <<< 'int f(const char *p) { return atoi(p); }'
expect assert src/log/planted.c <<< 'void f(int x) { assert(x); }'
expect 'time and chance' src/region/planted.c <<< 'long f(void) { return time(0); }'
expect 'time and chance' src/domain/planted.c <<< 'int f(void) { return rand(); }'
expect printing src/log/planted.c <<< 'void f(void) { printf("x"); }'
expect printing src/rpc/planted.c <<< 'void f(void) { fprintf(stderr, "x"); }'
expect files src/log/planted.c <<< 'int f(int d) { return fsync(d); }'
expect files src/replication/planted.c <<< 'int f(void) { return open("x", 0); }'
expect connections tools/tally/planted.c <<< 'int f(void) { return channel_open("eu:7401", NULL, NULL, NULL); }'
expect 'file size' src/log/planted.c < <(yes 'int x;' | head -801)
expect 'function size' src/log/planted.c < <(echo 'void f(void)'; echo '{'; yes '    g();' | head -100; echo '}')

echo 'int x;' > "$copy/src/log/planted.c"
output=$(/usr/bin/python3 tools/lint/lint.py "$copy") && exit 1
grep -qF 'src/log/planted.c:1: [opening]' <<< "$output"

echo "  PLANT  lint named each of $((planted + 1)) planted violations"
