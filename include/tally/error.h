/* The one error shape of Tallystick, in the library and in the server.
 *
 * Every function that can fail returns int: 0 is success, a negative value is one of the codes below. Functions that
 * take a `struct err *err` also leave a message for a person there: what happened, where, and what to do about it.
 * Passing NULL for err is allowed everywhere. On failure a function leaves its other outputs as they were.
 */
#ifndef TALLY_ERROR_H
#define TALLY_ERROR_H

/* X(name, value, gRPC status it travels as, meaning). Values are stable: they are part of exit codes and wire details.
 */
#define TALLY_ERROR_MAP(X)                                                                                             \
    X(INVALID, -1, INVALID_ARGUMENT, "the input is malformed or breaks a documented rule")                             \
    X(TOO_LARGE, -2, INVALID_ARGUMENT, "a size, count or depth is over its limit")                                     \
    X(NOT_FOUND, -3, NOT_FOUND, "the named thing does not exist")                                                      \
    X(EXISTS, -4, ALREADY_EXISTS, "the named thing exists already")                                                    \
    X(VERSION_CONFLICT, -5, ABORTED, "the stream is not at the expected version")                                      \
    X(ID_REUSED, -6, ALREADY_EXISTS, "the event id was used before with different content")                            \
    X(WRONG_HOME, -7, FAILED_PRECONDITION, "another region is the home of this partition")                             \
    X(UNAVAILABLE, -8, UNAVAILABLE, "not ready or not reachable; retry")                                               \
    X(BUSY, -9, RESOURCE_EXHAUSTED, "a bounded queue is full; retry after a pause")                                    \
    X(IO, -10, INTERNAL, "the operating system refused a read, write or sync")                                         \
    X(NO_SPACE, -11, RESOURCE_EXHAUSTED, "the disk is full")                                                           \
    X(NO_MEMORY, -12, RESOURCE_EXHAUSTED, "memory ran out")                                                            \
    X(CORRUPT, -13, DATA_LOSS, "stored or received bytes fail their checks")                                           \
    X(FORK, -14, DATA_LOSS, "two different histories of one log")                                                      \
    X(PERMISSION, -15, PERMISSION_DENIED, "not allowed, or a file mode is unsafe")                                     \
    X(LOCKED, -16, FAILED_PRECONDITION, "another process holds the lock")                                              \
    X(MISMATCH, -17, FAILED_PRECONDITION, "two things that must agree do not: cluster, origin, key, protocol")         \
    X(TIMEOUT, -18, DEADLINE_EXCEEDED, "the deadline passed first")                                                    \
    X(CANCELLED, -19, CANCELLED, "the caller gave up")                                                                 \
    X(POISONED, -20, INTERNAL, "a write or sync failed earlier; nothing is acknowledged until a restart")              \
    X(UNSUPPORTED, -21, UNIMPLEMENTED, "this build, file system or peer cannot do it")                                 \
    X(END, -22, OUT_OF_RANGE, "there is nothing further (not a failure for readers)")

enum tally_error {
    TALLY_OK = 0,
#define TALLY_ERROR_ENUM(name, value, grpc, meaning) ERR_##name = (value),
    TALLY_ERROR_MAP(TALLY_ERROR_ENUM)
#undef TALLY_ERROR_ENUM
};

enum { TALLY_ERROR_MESSAGE_MAX_BYTES = 512 };

/* A code with its explanation. Owned by the caller; zero-initialise it. The message is always NUL-terminated UTF-8. */
struct err {
    int code;
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
};

/* The code's name ("VERSION_CONFLICT") or its one-line meaning; never NULL, static storage, any thread. */
const char *tally_error_name(int code);
const char *tally_error_meaning(int code);

#endif
