/* Time as data. Core code never reads a clock: it gets one of these with each event.
 *
 * Hybrid logical time (Kulkarni et al., "Logical Physical Clocks", 2014) is one 64-bit number: 48 bits of Unix
 * milliseconds, 16 bits of counter. It never goes back, so that within one log it orders entries, and across logs it
 * orders what one region did after it had seen the other's entry. It is a claim, not a proof. */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <stdint.h>

struct time_now {
    uint64_t wall_us; /* Unix time, microseconds: for people and for hybrid time, may jump */
    uint64_t mono_us; /* monotonic, microseconds: for timeouts and leases, never jumps */
};

typedef uint64_t hlc;

static inline uint64_t hlc_unix_ms(hlc time)
{
    return time >> 16;
}

/* The next time after `last` at wall clock wall_us: the wall clock if it is ahead, else last + 1. */
static inline hlc hlc_next(hlc last, uint64_t wall_us)
{
    hlc wall = (wall_us / 1000) << 16;
    return wall > last ? wall : last + 1;
}

#endif
