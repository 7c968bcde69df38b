/* What crosses between the profiling programs and the agent. rover/profiling/layout.py mirrors it; the
 * test suite holds the two together. Fixed widths, largest first, no implicit padding. */
#ifndef ROVER_PROFILE_H
#define ROVER_PROFILE_H

/* What of a process is sampled; bits of rover_target.wanted, and rover_stack_key.target. */
#define ROVER_ON_CPU 1
#define ROVER_OFF_CPU 2

#define ROVER_KERNEL_FRAMES 48
#define ROVER_USER_FRAMES 127
/* Frames that one program unwinds before it calls the next: 127 frames are 16 programs, and the
 * kernel allows 33. */
#define ROVER_FRAMES_A_PROGRAM 8
/* Executable mappings of a process, at most. */
#define ROVER_MAPPINGS 512

/* A process that is sampled; value of `targets`, the key is its pid (tgid). */
struct rover_target {
	__u64 mm;         /* address space that the mappings speak of; 0 until the first sample */
	__u64 window_ns;  /* CLOCK_BOOTTIME at which the window of `switches` began */
	__u64 unkept_on;  /* dumps for which `stacks` had no room */
	__u64 unkept_off; /* switches for which `stacks` or `starts` had none */
	__u64 unkept_ns;
	__u32 mappings;   /* index of its first one in `mappings` */
	__u32 amount;     /* how many it has */
	__u32 switches;   /* in this window */
	__u32 every;      /* of so many switches one is taken, and weighs as much */
	__u32 news;       /* samples that met code outside of its mappings, or another address space */
	__u16 wanted;
	__u16 generation; /* of its mappings; from 1 */
};

/* One executable mapping, in `mappings`; those of a process lie together, sorted. */
struct rover_mapping {
	__u64 start;
	__u64 end;
	__u64 bias;  /* an address less this is what its rows speak of */
	__u32 first; /* its file's rows in `rows` */
	__u32 rows;  /* 0: frame pointers are all there is */
};

/* A row, in `rows`: how to find the caller of code from `pc` on, up to the next row's. One number:
 * pc (32 bits), where rbp was saved (8 bits, signed, in 8 bytes from the CFA; or a word), an offset
 * (21 bits, signed, in 8 bytes), a rule (3 bits). */
#define ROVER_RULE_RSP 0      /* CFA is rsp + offset */
#define ROVER_RULE_RBP 1      /* CFA is rbp + offset */
#define ROVER_RULE_AT_RBP 2   /* CFA is what lies at rbp + offset, and some words (a realigned stack) */
#define ROVER_RULE_AT_RSP 3   /* CFA is what lies at rsp + offset, and some words (OpenSSL's assembly) */
#define ROVER_RULE_REGISTER 4 /* CFA is another register + offset (the same) */
#define ROVER_RULE_SPECIAL 5  /* offset is one of ROVER_SPECIAL_* */
#define ROVER_RULE_FRAME 6    /* no entry: by the frame pointer */
/* The lowest bits of the offset of ROVER_RULE_AT_*: how many words are to be added. */
#define ROVER_AT_BITS 5
/* The lowest bits of the offset of ROVER_RULE_REGISTER: which one, by its place in struct pt_regs. */
#define ROVER_REGISTER_BITS 4
#define ROVER_SPECIAL_END 0    /* there is no caller */
#define ROVER_SPECIAL_LOST 1   /* it cannot be told */
#define ROVER_SPECIAL_SIGNAL 2 /* rsp points at the ucontext of a signal */
#define ROVER_SPECIAL_MONT 3   /* CFA is 8 behind what lies at rsp + 8 + 8 * r9 (bn_mul_mont) */
#define ROVER_SPECIAL_OTHER 4  /* CFA is rbp + 16, on another stack (Go's asmcgocall, systemstack) */
#define ROVER_SPECIAL_PLT 16   /* and n: CFA is rsp + 8, and 8 more from n bytes into an entry on */
#define ROVER_SPECIAL_RETURN 32 /* and n: CFA is rsp, and the caller is in register n (vfork) */
#define ROVER_RBP_KEPT 0       /* rbp is the caller's */
#define ROVER_RBP_AT_RBP 127   /* it lies at rbp */
#define ROVER_RBP_LOST 126

/* How a walk ended. */
#define ROVER_WALK_WHOLE 1 /* at the bottom of the stack */
#define ROVER_WALK_LIMIT 2 /* at ROVER_USER_FRAMES */
#define ROVER_WALK_LOST 3  /* where the caller could not be found */

struct rover_stack_key {
	__u64 hash; /* of all frames */
	__u32 tgid;
	__u16 generation; /* of the mappings that it was unwound by; 0: those of a new address space */
	__u8 target;
	__u8 epoch; /* of `control`, when it was first met */
};

/* A stack and how often it was met; value of `stacks`. */
struct rover_stack {
	__u64 count;
	__u64 ns; /* ROVER_OFF_CPU: of waits that are over */
	__u16 kernel; /* frames[0] and on */
	__u16 user;   /* frames[ROVER_KERNEL_FRAMES] and on */
	__u32 walk;
	__u64 frames[ROVER_KERNEL_FRAMES + ROVER_USER_FRAMES];
};

/* A wait that has begun; value of `starts`, the key is its thread. */
struct rover_start {
	__u64 at_ns; /* CLOCK_BOOTTIME */
	struct rover_stack_key stack;
	__u32 weight;
	__u32 kept; /* 0: `stacks` had no room for its stack */
};

struct rover_control {
	__u32 epoch;
	__u32 most_switches; /* of a process, in ROVER_WINDOW_NS; above, one of several is taken */
};

#define ROVER_WINDOW_NS 100000000ULL

/* Slots of the one value of `profile_counters`, which each CPU has for itself. */
#define ROVER_SAMPLED_ON 0
#define ROVER_SAMPLED_OFF 1
#define ROVER_SAMPLED_LOST_START 2 /* `starts` was full */
#define ROVER_SAMPLED_LOST_STACK 3 /* `stacks` was full */
#define ROVER_SAMPLED_SLOTS 4

struct rover_sampled {
	__u64 of[ROVER_SAMPLED_SLOTS];
};

#endif
