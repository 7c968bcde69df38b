/* By which pid the agent knows a process.
 *
 * In the initial pid namespace that is the kernel's own tgid. In any other, which the node of kind,
 * k3d or minikube is, it is the number that the process has in the agent's namespace: processes have
 * one in their own namespace and in each around it. Those that have none there are not the agent's
 * to see.
 *
 * bpf_get_ns_current_pid_tgid() will not do: it answers for tasks whose innermost namespace this is,
 * so for none in a container below it, and for the current task alone, so not for a new child.
 *
 * Where ROVER_PID_NAMESPACE is defined, it is the inode of the agent's namespace, and the loader
 * defines from the kernel's BTF
 *   ROVER_TASK_LEADER, ROVER_TASK_PID_STRUCT, ROVER_PID_LEVEL, ROVER_PID_NUMBERS,
 *   ROVER_UPID_NUMBER, ROVER_UPID_NAMESPACE, ROVER_UPID_BYTES,
 *   ROVER_NAMESPACE_COMMON, ROVER_COMMON_INODE
 */
#ifndef ROVER_PID_NAMESPACE_H
#define ROVER_PID_NAMESPACE_H

#include "read.h"

#ifdef ROVER_PID_NAMESPACE

/* MAX_PID_NS_LEVEL of the kernel, and the initial one. */
#define ROVER_PID_LEVELS 33

/* Return the number of a task's process in the agent's namespace, 0 where it has none.
 *
 * It is the leader's, which keeps it until the last thread has ended. Outwards, for most are in the
 * agent's namespace itself or one below. What is no longer there reads as 0. */
static inline u32 rover_tgid_of(u64 task)
{
	u64 pid = rover_read_u64(rover_read_u64(task + ROVER_TASK_LEADER) + ROVER_TASK_PID_STRUCT);
	u32 level = rover_read_u32(pid + ROVER_PID_LEVEL);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < ROVER_PID_LEVELS; i++) {
		/* else clang counts to the lesser of both, and the verifier of Linux 5.10 sees no end */
		asm volatile("" : "+r"(i));
		if (i > level)
			break;
		u64 number = pid + ROVER_PID_NUMBERS + (u64)(level - i) * ROVER_UPID_BYTES;
		u64 namespace = rover_read_u64(number + ROVER_UPID_NAMESPACE);
		if (rover_read_u32(namespace + ROVER_NAMESPACE_COMMON + ROVER_COMMON_INODE) ==
		    ROVER_PID_NAMESPACE)
			return rover_read_u32(number + ROVER_UPID_NUMBER);
	}
	return 0;
}

#define rover_current_tgid() rover_tgid_of(bpf_get_current_task())
#define rover_in_sight(tgid) (tgid)
/* The kernel's threads are in the initial namespace. */
#define rover_makes_kernel_threads(tgid) 0

#else

#define rover_current_tgid() (bpf_get_current_pid_tgid() >> 32)
#define rover_in_sight(tgid) 1
/* Pid of kthreadd. */
#define rover_makes_kernel_threads(tgid) ((tgid) == 2)

#endif
#endif
