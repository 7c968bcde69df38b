/* Where the two ways of attaching differ, and all of it: what a program is handed.
 *
 * ROVER_RAW: by raw tracepoints. The arguments are those of the kernel's TRACE_EVENT, pointers as
 * numbers; the loader takes the offsets of what they point at from the kernel's BTF and defines
 *   ROVER_TASK_TGID, ROVER_TASK_SIGNAL, ROVER_SIGNAL_LIVE
 * Otherwise: by tracepoints, whose records BCC declares from their format files. There the exit says
 * whether it is the process's last on newer kernels only (ROVER_HAVE_GROUP_DEAD), and a new process
 * is known by its pid in the initial namespace alone.
 *
 * ROVER_LAST_KNOWN is defined where an exit tells whether it is the process's last.
 */
#ifndef ROVER_ARGUMENTS_H
#define ROVER_ARGUMENTS_H

#include "read.h"

#ifdef ROVER_RAW

#define ROVER_LAST_KNOWN

#define ROVER_EXEC struct bpf_raw_tracepoint_args
#define ROVER_FORK struct bpf_raw_tracepoint_args
#define ROVER_EXIT struct bpf_raw_tracepoint_args

/* task_newtask(struct task_struct *task, unsigned long clone_flags) */
#define rover_clone_flags(args) ((args)->args[1])
#ifdef ROVER_PID_NAMESPACE
#define rover_new_tgid(args) rover_tgid_of((args)->args[0])
#else
#define rover_new_tgid(args) rover_read_u32((args)->args[0] + ROVER_TASK_TGID)
#endif

/* sched_process_exit(struct task_struct *p, ...). do_exit has taken the thread out of `live` before;
 * of threads that end at once, more than one may find it 0. A pid is not used again before. */
#define rover_is_last(args) (!rover_live((args)->args[0]))

static inline u32 rover_live(u64 task)
{
	return rover_read_u32(rover_read_u64(task + ROVER_TASK_SIGNAL) + ROVER_SIGNAL_LIVE);
}

#else

#define ROVER_EXEC struct tracepoint__sched__sched_process_exec
#define ROVER_FORK struct tracepoint__task__task_newtask
#define ROVER_EXIT struct tracepoint__sched__sched_process_exit

#define rover_clone_flags(args) ((args)->clone_flags)
#define rover_new_tgid(args) ((args)->pid)

#ifdef ROVER_HAVE_GROUP_DEAD
#define ROVER_LAST_KNOWN
#define rover_is_last(args) ((args)->group_dead)
#endif

#endif
#endif
