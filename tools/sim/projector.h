/* A region's projection in the simulator, for those that look at it: projector.c keeps it up. */
#ifndef SIM_PROJECTOR_H
#define SIM_PROJECTOR_H

#include "projection/follower.h"
#include "sim/sim.h"

struct projector {
    struct projection *projection;
    struct follower *follower;
    bool waits;
};

#endif
