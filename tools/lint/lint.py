"""The rules of this code base that a compiler does not know: layers, outside libraries, banned calls, sizes.

Usage: lint.py [ROOT] (default: the checkout that holds this file). Prints one line a violation, `file:line: [rule] what`, and exits 1 if there is any.

Comments and string literals are blanked before the code is looked at, so a comment may talk about malloc. Functions are found by
layout, which clang-format guarantees: a body opens with `{` and ends with `}`, each alone in the first column.
"""
import re
import sys
from pathlib import Path

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 100
FUNCTION_LINES_LONG = 70

# An include may point to the same folder or to a lower level. `tally` is include/tally, below everything.
LEVELS = {
    'tally': -1,
    'base': 0,
    'platform': 1, 'crypto': 1,
    'entry': 2, 'domain': 2,
    'log': 3, 'index': 3,
    'replication': 4, 'reconcile': 4, 'projection': 4,
    'region': 5,
    'rpc': 6, 'admin': 6, 'client': 6, 'outside': 6,
    'server': 7,
}
# Folders of one level do not know each other, but for these: key files lie on a disk; a stream is decided in terms of an entry's limits and
# names; both sides of gRPC decode under the same memory ceiling.
SAME_LEVEL = {('crypto', 'platform'), ('domain', 'entry'), ('rpc', 'client')}
# What an auditor trusts must stay small.
# domain is pure and holds the fold of authority that regions obey: an auditor judges by the very same rules.
VERIFY_FOLDERS = {'tally', 'base', 'platform', 'crypto', 'entry', 'domain', 'log'}

# Outside libraries: a pattern of the included path, and the only places that may include it.
LIBRARIES = [
    (r'rocksdb/', ['src/index/files_rocksdb.c']),
    (r'sqlite3\.h', ['src/projection/sqlite.h']),
    (r'libpq-fe\.h', ['src/projection/postgres.h']),
    (r'openssl/', ['src/crypto/sha256.c', 'src/crypto/certificate.c']),
    (r'sodium\.h', ['src/crypto/']),
    (r'grpc/', ['src/rpc/', 'src/client/']),
    (r'protobuf-c/|.*\.pb-c\.h', ['src/rpc/', 'src/client/']),
    (r'cyaml/', ['src/server/']),
    (r'microhttpd\.h', ['src/admin/http.c']),
    (r'jansson\.h', ['tools/', 'src/admin/pages.c', 'src/outside/etcd_json.c']),
    (r'curl/', ['tools/verify/fetch.c', 'src/outside/http.c']),
]


class Ban:
    """Calls that may not be made under `where`, apart from the files and folders in `allowed`."""

    def __init__(self, rule, calls, where, allowed, instead):
        self.rule = rule
        self.pattern = re.compile(r'(?<![\w.>])(' + calls + r')\s*\(')
        self.where = where
        self.allowed = allowed
        self.instead = instead


BANS = [
    Ban('memory', r'malloc|calloc|realloc|reallocarray|free|strdup|strndup|alloca|asprintf|vasprintf', ['src/', 'tools/', 'bench/'],
        ['src/base/mem.c', 'src/platform/disk_posix.c'], 'base/mem.h and base/buf.h'),
    Ban('unsafe', r'strcpy|strcat|stpcpy|strncpy|strncat|sprintf|vsprintf|gets|scanf|sscanf|fscanf|atoi|atol|atoll|atof|strtok|strtok_r',
        ['src/', 'tools/', 'bench/'], [], 'snprintf, base/bytes.h or base/text.c'),
    Ban('assert', r'assert', ['src/', 'tools/', 'bench/'], ['src/base/assert.c', 'src/base/assert.h'], 'base/assert.h, which stays on'),
    Ban('time and chance', r'time|gettimeofday|clock_gettime|clock|localtime|gmtime|rand|srand|random|srandom|drand48|getrandom|getentropy|'
        r'randombytes_buf|randombytes_uniform|RAND_bytes|arc4random', ['src/'], ['src/platform/'], 'platform/clock.h'),
    Ban('printing', r'printf|puts|putchar|perror|vprintf|syslog|fprintf|vfprintf|fputs', ['src/'], ['src/server/', 'src/base/assert.c'],
        'a return value: library code never logs'),
    Ban('files', r'open|openat|creat|read|pread|write|pwrite|writev|pwritev|fsync|fdatasync|sync_file_range|ftruncate|fallocate|fopen|'
        r'fread|fwrite|fclose|rename|unlink|mkdir|rmdir|opendir', ['src/'], ['src/platform/'], 'platform/disk.h'),
    Ban('connections', r'tally_client_open|tally_client_open_tls|channel_open', ['tools/tally/'], ['tools/tally/connect.c'],
        'tools/tally/connect.h, which knows of TLS'),
]

BLANK = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)


def blank(match):
    """The same lines with nothing in them, so that line numbers stay true."""
    return re.sub(r'[^\n]', ' ', match.group())


def under(path, places):
    return any(path == place or (place.endswith('/') and path.startswith(place)) for place in places)


class Lint:
    def __init__(self, root):
        self.root = root
        self.problems = []
        self.file_count = 0
        self.lengths = []

    def report(self, path, line, rule, text):
        self.problems.append(f'{path}:{line}: [{rule}] {text}')

    def run(self):
        for top in ('include', 'src', 'tools', 'bench', 'tests'):
            for file in sorted((self.root / top).rglob('*.[ch]')):
                self.check(file)

    def check(self, file):
        path = file.relative_to(self.root).as_posix()
        text = file.read_text(encoding='utf-8')
        self.file_count += 1
        line_count = text.count('\n')
        if line_count > FILE_LINES_MAX:
            self.report(path, line_count, 'file size', f'{line_count} lines; split it: at most {FILE_LINES_MAX}')
        if path.startswith('tests/'):
            return
        if not text.startswith('/*'):
            self.report(path, 1, 'opening', 'a file opens with a comment that says why it exists')
        code = BLANK.sub(blank, text)
        for match in INCLUDE.finditer(text):
            line = text.count('\n', 0, match.start(1 if match.group(1) else 2)) + 1
            if 'include' in code.split('\n')[line - 1]:
                self.check_include(path, line, match.group(1), match.group(2))
        self.check_calls(path, code)
        self.check_functions(path, code)

    def check_include(self, path, line, ours, outside):
        included = ours or outside
        for pattern, allowed in LIBRARIES:
            if re.fullmatch(pattern if pattern.endswith(r'\.h') else f'(?:{pattern}).*', included) and not under(path, allowed):
                self.report(path, line, 'library', f'{included} may only be included in {", ".join(allowed)}')
        target = included.split('/')[0] if '/' in included else None
        if ours is None or target not in LEVELS or included.endswith('.pb-c.h'):
            return
        parts = path.split('/')
        if parts[:2] == ['tools', 'verify']:
            if target not in VERIFY_FOLDERS:
                self.report(path, line, 'layer', f'tally-verify may not use {target}')
        elif parts[0] == 'src' and target != parts[1]:
            if parts[1] not in LEVELS:
                self.report(path, line, 'layer', f'src/{parts[1]} has no level: see the table in tools/lint/lint.py')
            elif LEVELS[target] >= LEVELS[parts[1]] and (parts[1], target) not in SAME_LEVEL:
                self.report(path, line, 'layer', f'{parts[1]} (level {LEVELS[parts[1]]}) may not include {included} '
                                                 f'(level {LEVELS[target]}): only downwards')
        elif parts[0] == 'include' and target != 'tally':
            self.report(path, line, 'layer', f'a public header may not include {included}')

    def check_calls(self, path, code):
        for number, line in enumerate(code.split('\n'), 1):
            for ban in BANS:
                if under(path, ban.where) and not under(path, ban.allowed):
                    for match in ban.pattern.finditer(line):
                        self.report(path, number, ban.rule, f'{match.group(1)}() is not used here: use {ban.instead}')

    def check_functions(self, path, code):
        start = None
        for number, line in enumerate(code.split('\n'), 1):
            if line.rstrip() == '{':
                start = number
            elif line.rstrip() == '}' and start:
                length = number - start + 1
                self.lengths.append(length)
                if length > FUNCTION_LINES_MAX:
                    self.report(path, start, 'function size', f'{length} lines; split it: at most {FUNCTION_LINES_MAX}')
                start = None


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    lint = Lint(root)
    lint.run()
    for problem in lint.problems:
        print(problem)
    lengths = sorted(lint.lengths) or [0]
    long = sum(length > FUNCTION_LINES_LONG for length in lengths)
    print(f'  LINT   {lint.file_count} files, {len(lengths)} functions: median {lengths[len(lengths) // 2]} lines, '
          f'{100 * long / len(lengths):.1f} % over {FUNCTION_LINES_LONG}, longest {lengths[-1]}; {len(lint.problems)} problems')
    sys.exit(1 if lint.problems else 0)


main()
