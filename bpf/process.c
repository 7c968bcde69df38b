/* Processes that live long enough to matter.
 *
 * Every new process and every exec enters `pending`; an exit takes it out again. So whatever ends
 * before the agent looks costs the agent nothing. The agent moves survivors into `tracked`, and
 * only their exits are sent to it. One event wakes the agent after a quiet time; while it knows
 * that `pending` holds something, it looks by itself. Where much comes in, it asks to be told when
 * something has settled: then whatever comes in looks whether something has, once a slice of time.
 *
 * The loader defines
 *   ROVER_HAVE_EXEC, ROVER_HAVE_FORK, ROVER_HAVE_EXIT   for the tracepoints of this kernel
 *   ROVER_PENDING_ENTRIES, ROVER_OVERFLOW_ENTRIES, ROVER_TRACKED_ENTRIES, ROVER_RING_PAGES
 * and what arguments.h names, where the two ways of attaching differ, and pid_namespace.h, where the
 * agent is not in the initial pid namespace. Every pid here is the one that the agent has for it.
 */
#include <linux/types.h>
#include "process.h"
#include "pid_namespace.h"
#include "arguments.h"

#define ROVER_CLONE_THREAD 0x00010000

/* Small: a look at a hash goes through all of its buckets, filled or not. What finds no room goes
 * into `overflow`, which is looked at while `spilled` is 1. */
BPF_TABLE("hash", u32, struct rover_pending, pending, ROVER_PENDING_ENTRIES);
BPF_TABLE("hash", u32, struct rover_pending, overflow, ROVER_OVERFLOW_ENTRIES);
BPF_TABLE("array", u32, u32, spilled, 1);
BPF_TABLE("hash", u32, u32, tracked, ROVER_TRACKED_ENTRIES);
BPF_TABLE("array", u32, u32, armed, ROVER_ARMED_WORDS);
/* By slice, how many came in less how many of them ended, and how many of them the agent has taken:
 * where the two differ somebody has not settled. Neither is ever set back, for nobody can while others
 * count; after a turn of the ring they go on, and what is wrong the agent mends in `taken`. */
BPF_TABLE("array", u32, u32, unsettled, ROVER_SLICES);
BPF_TABLE("array", u32, u32, taken, ROVER_SLICES);
BPF_TABLE("array", u32, struct rover_slices, slices, 1);
BPF_TABLE("percpu_array", u32, struct rover_counts, counters, 1);
BPF_RINGBUF_OUTPUT(events, ROVER_RING_PAGES);

static inline void count(u32 slot)
{
	u32 first = 0;
	struct rover_counts *counts = counters.lookup(&first);
	if (counts && slot < ROVER_COUNTERS)
		counts->of[slot]++;
}

static inline int send(u32 kind, u32 pid)
{
	struct rover_event *event = events.ringbuf_reserve(sizeof(*event));
	if (!event) {
		count(ROVER_COUNT_LOST_EVENT);
		return 0;
	}
	event->at_ns = bpf_ktime_get_boot_ns();
	event->pid = pid;
	event->kind = kind;
	events.ringbuf_submit(event, 0);
	return 1;
}

/* `armed` falls only when the event is on its way: a full ring must not leave the agent asleep.
 *
 * Its read must not be ordered before the caller's store into `pending`: `count_unsettled` stands
 * between them. Elsewhere than on x86 that is no barrier, and a BPF program has no other before
 * Linux 5.12. There the agent looks once more after it has armed, when all such stores have long
 * been seen (Probes.take in rover/probes/settling.py). */
static inline void wake(void)
{
	u32 first = ROVER_ARMED_FIRST;
	u32 *word = armed.lookup(&first);
	if (word && *word && send(ROVER_EVENT_WAKE, 0))
		*word = 0;
}

static inline int has_spilled(void)
{
	u32 first = 0;
	u32 *word = spilled.lookup(&first);
	return word && *word;
}

/* The agent clears `spilled` before it looks and sets it again where it finds something. What is
 * missed meanwhile is an end or an exec of a process in `overflow`: the agent finds the one gone,
 * and reads the other twice. */
static inline struct rover_pending *find_pending(u32 pid)
{
	struct rover_pending *known = pending.lookup(&pid);
	if (!known && has_spilled())
		known = overflow.lookup(&pid);
	return known;
}

/* By an atomic add: on x86 a full barrier, so that a store before it is seen before a load after it. */
static inline void count_unsettled(u64 since_ns, u32 more)
{
	u32 slice = (since_ns >> ROVER_SLICE_SHIFT) & (ROVER_SLICES - 1);
	u32 *here = unsettled.lookup(&slice);
	if (here)
		__sync_fetch_and_add(here, more);
}

static inline void put_pending(u32 pid, struct rover_pending *fresh)
{
	u32 first = 0, yes = 1;
	if (pending.update(&pid, fresh)) {
		if (overflow.update(&pid, fresh)) {
			count(ROVER_COUNT_LOST_PENDING);
			return;
		}
		spilled.update(&first, &yes);
	}
	count_unsettled(fresh->since_ns, 1);
}

/* The time is read before: where the deletion then succeeds, it was this process's. */
static inline int drop_pending(u32 pid)
{
	u64 since_ns;
	struct rover_pending *known = pending.lookup(&pid);
	if (known) {
		since_ns = known->since_ns;
		if (pending.delete(&pid))
			return 0;
	} else {
		if (!has_spilled())
			return 0;
		known = overflow.lookup(&pid);
		if (!known)
			return 0;
		since_ns = known->since_ns;
		if (overflow.delete(&pid))
			return 0;
	}
	count_unsettled(since_ns, -1);
	return 1;
}

static inline int has_left(u64 number)
{
	u32 slice = number & (ROVER_SLICES - 1);
	u32 *here = unsettled.lookup(&slice);
	u32 *gone = taken.lookup(&slice);
	return here && gone && *here != *gone;
}

/* Tell whether any of the slices up to this one has somebody left. Where nothing has come in for more
 * than four it is taken for granted. No loop: the verifier of Linux 5.10 does not see where it ends. */
static inline int has_settled(u64 latest, u64 slices_passed)
{
	return slices_passed > 4
		|| has_left(latest)
		|| (slices_passed > 1 && has_left(latest - 1))
		|| (slices_passed > 2 && has_left(latest - 2))
		|| (slices_passed > 3 && has_left(latest - 3));
}

/* The first to come in during a slice looks whether somebody has settled since the former look. Two
 * processors that do so at once send two events. Where the ring is full, the next to come in tries
 * again. */
static inline void tell_settled(u64 now_ns)
{
	u32 first = 0, settled = ROVER_ARMED_SETTLED;
	struct rover_slices *known = slices.lookup(&first);
	if (!known)
		return;
	u64 now = now_ns >> ROVER_SLICE_SHIFT;
	s64 passed = now - known->latest;
	if (passed <= 0)
		return;
	u32 *age = armed.lookup(&settled);
	if (age && *age && has_settled(now - *age, passed)) {
		if (!send(ROVER_EVENT_SETTLED, 0))
			return;
		*age = 0;
	}
	known->latest = now;
	__sync_fetch_and_add(&known->met, 1);
}

static inline void come_in(u32 pid, u32 parent, u32 kind)
{
	struct rover_pending fresh = {
		.since_ns = bpf_ktime_get_boot_ns(),
		.parent = parent,
		.kind = kind,
	};
	put_pending(pid, &fresh);
	wake();
	tell_settled(fresh.since_ns);
}

#ifdef ROVER_HAVE_EXEC
/* A process keeps the time at which it first came in, so that a chain of execs settles too. */
int on_exec(ROVER_EXEC *args)
{
	/* Runs as the new image; after the exec of a thread the pid is already the leader's. */
	u32 pid = rover_current_tgid();
	if (!rover_in_sight(pid))
		return 0;
	struct rover_pending *known = find_pending(pid);
	if (known)
		known->kind = ROVER_KIND_EXEC;
	else
		come_in(pid, 0, ROVER_KIND_EXEC);
	count(ROVER_COUNT_EXEC);
	return 0;
}
#endif

#ifdef ROVER_HAVE_FORK
/* Where an exit does not say whether it is the last, the leader's stands for it in a process that
 * has made no thread since it came into `pending`, for then it had none. */
static inline void note_thread(void)
{
#ifndef ROVER_LAST_KNOWN
	struct rover_pending *known = find_pending(rover_current_tgid());
	if (known)
		known->threads = 1;
#endif
}

int on_fork(ROVER_FORK *args)
{
	if (rover_clone_flags(args) & ROVER_CLONE_THREAD) {
		note_thread();
		return 0;
	}
	u32 parent = rover_current_tgid();
	if (rover_makes_kernel_threads(parent))
		return 0;
	/* what enters a container from outside has a parent that is not in sight: 0 */
	u32 pid = rover_new_tgid(args);
	if (!rover_in_sight(pid))
		return 0;
	/* it is in no map, unless the end of another that had its pid was missed: then it takes its place */
	come_in(pid, parent, ROVER_KIND_FORK);
	count(ROVER_COUNT_FORK);
	return 0;
}
#endif

#ifdef ROVER_HAVE_EXIT
static inline void leave(u32 pid)
{
	u32 first = 0;
	struct rover_counts *counts = counters.lookup(&first);
	int unsettled_yet = drop_pending(pid);
	if (!counts)
		return;
	counts->of[ROVER_COUNT_EXIT]++;
	if (unsettled_yet)
		counts->of[ROVER_COUNT_UNSETTLED]++;
}

int on_exit(ROVER_EXIT *args)
{
#ifdef ROVER_LAST_KNOWN
	if (!rover_is_last(args))
		return 0;
	u32 pid = rover_current_tgid();
	if (!rover_in_sight(pid))
		return 0;
	leave(pid);
	if (tracked.lookup(&pid) && !tracked.delete(&pid)) /* most are not in it: the former locks nothing */
		send(ROVER_EVENT_EXIT, pid);
#else
	/* The last thread to end need not be the leader. Whether any lives on can be read in /proc
	 * only, so `tracked` is left to the agent, and `pending` where there may be threads. */
	u64 id = bpf_get_current_pid_tgid();
	u32 pid = id >> 32;
	u32 *flags = tracked.lookup(&pid);
	if ((u32)id == pid) {
		struct rover_pending *known = find_pending(pid);
		if (!known || !known->threads)
			leave(pid);
		if (flags)
			send(ROVER_EVENT_LEADER, pid);
	} else if (flags && (*flags & ROVER_FOLLOW_THREADS)) {
		send(ROVER_EVENT_THREAD, pid);
	}
#endif
	return 0;
}
#endif
