/* What serves each method: see method_fn in call.h. Append and AppendStream: append_call.h. */
#ifndef RPC_METHODS_H
#define RPC_METHODS_H

#include "rpc/call.h"

method_fn method_read_stream;
method_fn method_read_log;
method_fn method_subscribe;
method_fn method_status;
method_fn method_prove;
method_fn method_show_ticket;
method_fn method_list_tickets;
method_fn method_create_projection;
method_fn method_rebuild_projection;
method_fn method_get_projection;
method_fn method_list_projections;
method_fn method_digest_projection;
method_fn method_check_projection;
method_fn method_list_contexts;
method_fn method_show_context;
method_fn method_define_context;
method_fn method_list_homes;
method_fn method_handover;
method_fn method_failover;
method_fn method_list_late;
method_fn method_show_late;
method_fn method_settle;
method_fn method_late_digest;
method_fn method_report;
method_fn method_list_evidence;
method_fn method_hello;
method_fn method_pull;
method_fn method_compare;
method_fn method_health_check;
method_fn method_health_watch;
method_fn method_reflection;

#endif
