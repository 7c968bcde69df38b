/* What crosses between the kernel and the agent. rover/probes/layout.py mirrors it; the test suite
 * holds the two together. Fixed widths, largest first, no implicit padding. */
#ifndef ROVER_PROCESS_H
#define ROVER_PROCESS_H

/* How a process came into `pending`. */
#define ROVER_KIND_FORK 1
#define ROVER_KIND_EXEC 2

/* A process that has not settled yet; value of `pending` and `overflow`, the key is its pid. */
struct rover_pending {
	__u64 since_ns; /* CLOCK_BOOTTIME of the first event since it was last taken out */
	__u32 parent;   /* pid of the forking process; 0 where only an exec was seen */
	__u16 kind;     /* the latest event */
	__u16 threads;  /* 1 where it has made a thread and an exit does not tell whether it is the last */
};

/* Time in slices of 2^23 ns, 8.4 ms; what came in is counted by slice, in a ring of so many. */
#define ROVER_SLICE_SHIFT 23
#define ROVER_SLICES 64

/* The one value of `slices`. */
struct rover_slices {
	__u64 latest; /* in which something came in */
	__u64 met;    /* how many there were in which something did */
};

/* Keys of `armed`; each word falls to 0 with the event that it has asked for. */
#define ROVER_ARMED_FIRST 0   /* 1: the next process that comes in sends ROVER_EVENT_WAKE */
#define ROVER_ARMED_SETTLED 1 /* slices after which a process has settled: ROVER_EVENT_SETTLED */
#define ROVER_ARMED_WORDS 2

/* Flags of a followed pid; value of `tracked`. */
#define ROVER_FOLLOW 1
/* Report the end of each of its threads: its leader has ended before them. */
#define ROVER_FOLLOW_THREADS 2

/* Kinds of event in the ring buffer. */
#define ROVER_EVENT_WAKE 1    /* `pending` is no longer empty; pid is 0 */
#define ROVER_EVENT_EXIT 2    /* the process has ended */
#define ROVER_EVENT_LEADER 3  /* its leader has ended; other threads may live on */
#define ROVER_EVENT_THREAD 4  /* a thread of a process without leader has ended */
#define ROVER_EVENT_SETTLED 5 /* something has, most likely; pid is 0 */

struct rover_event {
	__u64 at_ns; /* CLOCK_BOOTTIME */
	__u32 pid;   /* thread group id */
	__u32 kind;
};

/* Slots of the one value of `counters`, which each CPU has for itself. */
#define ROVER_COUNT_EXEC 0         /* exec events seen */
#define ROVER_COUNT_FORK 1         /* new processes seen, threads not counted */
#define ROVER_COUNT_EXIT 2         /* ended processes seen */
#define ROVER_COUNT_UNSETTLED 3    /* of these, gone before they settled */
#define ROVER_COUNT_LOST_PENDING 4 /* not recorded: `pending` and `overflow` were full */
#define ROVER_COUNT_LOST_EVENT 5   /* not sent: the ring buffer was full */
#define ROVER_COUNTERS 6

struct rover_counts {
	__u64 of[ROVER_COUNTERS];
};

#endif
