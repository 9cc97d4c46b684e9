/* The client side of gRPC: what the client library and a region's pulls from its peers share. On gRPC core's C API.
 *
 * A channel connects by itself, and again after a loss. Calls are blocking, each with a completion queue of its own;
 * who has many under way lets them share a queue, from which one thread takes what has happened. */
#ifndef CLIENT_CHANNEL_H
#define CLIENT_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

enum { CHANNEL_MESSAGE_MAX_BYTES = 9 * 1024 * 1024, CHANNEL_ADDRESS_MAX_BYTES = 255 };

struct channel;
struct channel_call;

struct tls;

/* address is "host:port". Does not connect yet. Any thread may make calls on it. tls (tls.h) outlives the channel;
 * NULL: plaintext. With it the server's certificate must be for the host in the address, and calls made after tls has
 * taken up other files go over a connection of their own. ERR_INVALID, ERR_NO_MEMORY. */
int channel_open(const char *address, struct tls *tls, struct channel **ret, struct err *err) MUST_USE;
/* For a program, at its start: gRPC says nothing on standard error, unless $GRPC_VERBOSITY is set. */
void channel_keep_quiet(void);
/* All calls must have ended. NULL is fine. */
void channel_close(struct channel *channel);

/* One request, one response; response is appended to *out. Errors: the code in the server's "tally-error-bin" detail
 * when there is one (its message too), else the gRPC status mapped by TALLY_ERROR_MAP: ERR_UNAVAILABLE (names the
 * address), ERR_TIMEOUT, … detail (may be NULL) gets the ErrorDetail's bytes. max response CHANNEL_MESSAGE_MAX_BYTES.
 */
int channel_unary(struct channel *channel, const char *method, struct bytes request, uint64_t timeout_ms,
                  struct buf *out, struct buf *detail, struct err *err) MUST_USE;

/* A streaming call. It may last for ever, but a read waits at most silence_ms for the next message (0: for ever), then
 * ends the call: ERR_TIMEOUT. wait_for_ready is off: an unreachable server fails at once. One thread may read while
 * another writes. */
int channel_call_open(struct channel *channel, const char *method, uint64_t silence_ms, struct channel_call **ret,
                      struct err *err) MUST_USE;
/* Waits for flow control. ERR_UNAVAILABLE once the call has ended (read then tells why). */
int channel_call_write(struct channel_call *call, struct bytes message, struct err *err) MUST_USE;
/* No more writes will come. */
int channel_call_writes_done(struct channel_call *call, struct err *err) MUST_USE;
/* The next message is appended to *out. ERR_END when the server ended the call with OK, otherwise the error it ended
 * with, as for channel_unary. */
int channel_call_read(struct channel_call *call, struct buf *out, struct buf *detail, struct err *err) MUST_USE;
/* Makes pending and later reads and writes fail with ERR_CANCELLED. Any thread, as often as you like, until
 * channel_call_close. */
void channel_call_cancel(struct channel_call *call);
/* Cancels if it has not ended, waits for what is pending, frees. No other thread may be in the call. NULL is fine. */
void channel_call_close(struct channel_call *call);

/* --- Many calls, one thread ---
 * All of a queue and its calls is for one thread at a time. Nothing here waits but channel_queue_next. */

struct channel_queue;

enum channel_happened { CHANNEL_WRITTEN, CHANNEL_READ };

struct channel_event {
    enum channel_happened happened; /* CHANNEL_WRITTEN also when the call has ended: a read tells why */
    struct channel_call *call;
    void *context; /* the call's */
};

/* ERR_NO_MEMORY. */
int channel_queue_new(struct channel_queue **ret, struct err *err) MUST_USE;
/* Cancels the calls that are left and frees them too. Before the channels are closed. NULL is fine. */
void channel_queue_free(struct channel_queue *queue);
/* Waits for the next event, at most until then on the monotonic clock (UINT64_MAX: however long). False: none came. */
bool channel_queue_next(struct channel_queue *queue, uint64_t until_mono_us, struct channel_event *ret);

/* A streaming call on the queue, as channel_call_open. It lives until the queue is freed. */
int channel_queue_open(struct channel_queue *queue, struct channel *channel, const char *method, void *context,
                       struct channel_call **ret, struct err *err) MUST_USE;
/* Starts to write; CHANNEL_WRITTEN says that there is room for the next. The message is copied. ERR_TOO_LARGE. */
int channel_queue_write(struct channel_call *call, struct bytes message, struct err *err) MUST_USE;
/* Starts to read; at CHANNEL_READ channel_queue_take has the message, and may be called once. */
void channel_queue_read(struct channel_call *call);
/* Both at once, for who waits for the answer: CHANNEL_READ when it is there. Costs less: a read that waits before there
 * is anything to send makes gRPC send a packet that only says so. */
int channel_queue_ask(struct channel_call *call, struct bytes message, struct err *err) MUST_USE;
/* One request, one response: CHANNEL_READ when it is there; then channel_queue_take, which also frees the call. */
int channel_queue_unary(struct channel_queue *queue, struct channel *channel, const char *method, struct bytes request,
                        uint64_t timeout_ms, void *context, struct err *err) MUST_USE;
/* After CHANNEL_READ: as channel_call_read and channel_unary. */
int channel_queue_take(struct channel_call *call, struct buf *out, struct buf *detail, struct err *err) MUST_USE;

#endif
