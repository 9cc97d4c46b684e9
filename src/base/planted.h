/* Planted bugs: faults in the product's own code that prove that the simulator's oracles see them. In every build but
 * MODE=planted, PLANTED(name) is the constant false and nothing of this is there; in that one, `tally-sim --planted
 * NAME` switches one on, before anything else runs. To plant another: a line here, and an `if (PLANTED(name))` where it
 * belongs. */
#ifndef BASE_PLANTED_H
#define BASE_PLANTED_H

#include <stddef.h>

/* X(name, what is wrong then) */
#define PLANTED_LIST(X)                                                                                                \
    X(answer_before_durable, "a command is answered when it is decided, not when it is durable")                       \
    X(sync_nothing, "segments are written without waiting for stable storage")                                         \
    X(forget_folder_sync, "a new segment's name is not synced in its folder")                                          \
    X(forget_file_sync, "a small file is renamed before its contents are synced")                                      \
    X(cut_a_block_too_many, "recovery cuts the last whole block too")                                                  \
    X(skip_prev_check, "an entry may name any hash as the one before it")                                              \
    X(skip_commitment_check, "a payload need not match its commitment")                                                \
    X(ack_before_stored, "a mirror acknowledges a block when it arrives")                                              \
    X(cosign_before_stored, "a checkpoint is cosigned when it arrives")                                                \
    X(sign_before_durable, "the log signs what is not durable yet")                                                    \
    X(accept_before_hearing, "a region accepts before a peer told how much of its log is known")                       \
    X(lose_overlay, "what leaves the overlay does not make older look-ups invalid")                                    \
    X(forget_undo, "a batch that is refused half-way leaves its ids and versions behind")                              \
    X(forget_index, "event ids are only looked for in memory")                                                         \
    X(forget_time, "after a start, time begins with the wall clock")                                                   \
    X(apply_twice, "a projection's rows are committed without its cursor")                                             \
    X(never_pull_again, "a pull that broke is not opened again")                                                       \
    X(decide_before_indexed, "a new home decides while its index still shows what came too late")                      \
    X(take_at_once, "a partition is taken before the index has applied its release")                                   \
    X(keep_releasing, "a region that let go of a partition goes on accepting for it")                                  \
    X(forget_changes, "after a start, changes of homes that wait for their basis are forgotten")                       \
    X(late_moves_heads, "an entry that comes too late counts as the head of its stream")                               \
    X(demote_nothing, "what a change of homes makes late stays effective in the index")                                \
    X(accept_any_version, "a context is defined whatever version its operator has seen")                               \
    X(forget_definitions, "a region does not follow definitions of contexts in the logs of others")                    \
    X(believe_in_order, "recovery takes the end of a torn write for proof that its beginning was whole")               \
    X(order_by_index, "of two changes that begin one epoch, the one with the smaller index wins, not the earlier one") \
    X(forget_signed, "what a region signs is not remembered apart from its log")                                       \
    X(trust_backup, "a region that was restored from a backup goes on with its log")                                   \
    X(send_every_payload, "a source sends payloads to regions that may not hold them")                                 \
    X(store_every_payload, "a mirror stores payloads that it may not hold, and asks any peer for a log")               \
    X(lose_silently, "a range that is lost for good is not reported")                                                  \
    X(answer_before_copies, "an append is answered before peers have stored it")                                       \
    X(degrade_always, "with too few peers an append is accepted on fewer copies, though its context says no")          \
    X(settle_without_effect, "a late event is decided to be accepted, and not appended again")                         \
    X(decide_repeated, "a late event is dropped, rejected or compensated though its home has taken it again before")   \
    X(obey_overtaken, "a decision about a late event counts though its home had been overtaken")                       \
    X(decide_twice, "a queued command is decided again as long as the index does not show the first verdict")          \
    X(late_verdicts, "a verdict on a queued command counts although its home was overtaken")                           \
    X(accept_without_lease, "a fenced home accepts without a lease")                                                   \
    X(count_left_behind, "what a later log of its region goes on without counts beside it")                            \
    X(continue_unheld, "a new log says that it continues more than its region holds")                                  \
    X(continue_silently, "a new log does not say what it continues")                                                   \
    X(lease_of_the_ignorant, "a lease counts although its granter knew of changes that the holder does not")           \
    X(first_come_stands, "of commutative events with one id the one that the index met first stands, not the earlier") \
    X(commutative_overtaken, "a commutative event is late unless its region is the home under epoch 1")                \
    X(commutative_each_time, "a projection applies a commutative event as often as regions accepted it")               \
    X(override_any_type, "a region that is not the home accepts events of any type as overrides")                      \
    X(override_each_time, "an override that is sent again is appended again")                                          \
    X(override_unseen, "readers do not find overrides beside their streams")                                           \
    X(obey_late_definitions, "a definition of a context counts though its home was overtaken")                         \
    X(seize_alone, "a failover looks at no other survivor's copies")                                                   \
    X(own_without_payloads, "a region that may not hold a context's payloads becomes its home")                        \
    X(never_degraded, "automatic failover counts as armed though its service is out of reach")                         \
    X(no_drift_bound, "a lease is waited out without the bound that clocks may drift by")                              \
    X(tell_keys_again, "at every start the log tells again which keys were rotated")                                   \
    X(keep_unchecked_lines, "a mirror keeps signatures of a log that are by keys which it does not know")              \
    X(find_no_drift, "two projections with other digests at one position count as equal")                              \
    X(stay_unarmed, "automatic failover is not armed again once its service was out of reach")                         \
    X(claim_of_others, "automatic failover seizes by the claim of another survivor")                                   \
    X(withdraw_seized, "a claim is withdrawn when everything is seized that it was for")                               \
    X(decide_late, "a seizure is decided however long ago its claim was seen to stand")                                \
    X(past_recovery_point, "a home goes on accepting past its recovery point")                                         \
    X(seize_from_renewing, "automatic failover seizes from a home that renews its lease, whatever the service says")

#ifdef TALLY_PLANTED
enum planted {
#define PLANTED_ENUM(name, what) PLANTED_##name,
    PLANTED_LIST(PLANTED_ENUM)
#undef PLANTED_ENUM
        PLANTED_NONE
};
extern enum planted planted_selected;
#define PLANTED(name) (planted_selected == PLANTED_##name)
#else
#define PLANTED(name) 0
#endif

/* ERR_NOT_FOUND for an unknown name; ERR_UNSUPPORTED in builds that have no planted bugs. */
int planted_select(const char *name);
/* Name and meaning of number i; NULL past the end. */
const char *planted_name(size_t i);
const char *planted_meaning(size_t i);

#endif
