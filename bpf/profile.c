/* Stacks of chosen processes: where they run (on_cpu), where they wait (off_cpu).
 *
 * Counts stay in the kernel until the agent takes them: by stack, which is kept whole under a hash of
 * its frames. The agent raises `epoch` and then takes what is of earlier ones, to which nothing is
 * added any more but the ends of waits that began in them.
 *
 * User stacks are unwound by rows that the agent has made of each file's .eh_frame: 8 frames a
 * program, which calls the next one. Where there are no rows, by frame pointers.
 *
 * The loader defines
 *   ROVER_TASK_PID, ROVER_TASK_FLAGS, ROVER_TASK_MM   offsets in task_struct
 *   ROVER_UNWIND                    where registers can be had (Linux 5.15, x86-64)
 *   ROVER_TARGETS, ROVER_ROWS, ROVER_STACKS, ROVER_STARTS   sizes
 * and what pid_namespace.h names: a target is known by the pid that the agent has for it.
 */
#include <linux/types.h>
#include "profile.h"
#include "pid_namespace.h"
#include "read.h"

#define ROVER_PF_EXITING 0x4
#define ROVER_USER_STACK (1ULL << 8) /* BPF_F_USER_STACK */
#define ROVER_NO_EXIST 1             /* BPF_NOEXIST */
/* Row searches: 2^20 rows of a file, 2^9 mappings of a process. */
#define ROVER_ROW_STRIDE (1U << 19)
#define ROVER_MAPPING_STRIDE (ROVER_MAPPINGS / 2)

/* struct pt_regs of x86-64 in words, a kernel ABI since 2.6: those that a callee keeps and r11 to rdi
 * come first */
#define ROVER_REGS 21
#define ROVER_REGS_RBP 4
#define ROVER_REGS_R11 6
#define ROVER_REGS_R9 8
#define ROVER_REGS_RIP 16
#define ROVER_REGS_CS 17
#define ROVER_REGS_RSP 19
#define ROVER_USER_CS_64 0x33
/* rip, rsp and rbp of the ucontext that a signal's frame holds */
#define ROVER_SIGNAL_RIP 168
#define ROVER_SIGNAL_RSP 160
#define ROVER_SIGNAL_RBP 120

/* The stack that is being walked. */
struct rover_walk {
	struct rover_stack_key key;
	struct rover_stack stack;
	u64 ip;
	u64 sp;
	u64 bp;
	u64 hash;
	u32 mappings;
	u32 amount;
	u32 weight;
	u32 leaf; /* 1: the address is that of an instruction, not the one after a call */
	u32 interrupted; /* 1: below is a signal, before which registers held something else */
	u64 regs[ROVER_REGS]; /* of the leaf */
};

BPF_TABLE("hash", u32, struct rover_target, targets, ROVER_TARGETS);
BPF_TABLE("array", u32, struct rover_mapping, mappings, ROVER_TARGETS * 2 * ROVER_MAPPINGS);
BPF_TABLE("array", u32, u64, rows, ROVER_ROWS);
BPF_TABLE("hash", struct rover_stack_key, struct rover_stack, stacks, ROVER_STACKS);
BPF_TABLE("hash", u32, struct rover_start, starts, ROVER_STARTS);
BPF_TABLE("array", u32, struct rover_control, control, 1);
BPF_TABLE("percpu_array", u32, struct rover_sampled, profile_counters, 1);
/* Two of each CPU: a dump and a switch never share one. */
BPF_TABLE("percpu_array", u32, struct rover_walk, walks, 2);
BPF_PROG_ARRAY(on_steps, 1);
BPF_PROG_ARRAY(off_steps, 1);

static inline void sampled(u32 slot)
{
	u32 first = 0;
	struct rover_sampled *counts = profile_counters.lookup(&first);
	if (counts && slot < ROVER_SAMPLED_SLOTS)
		counts->of[slot]++;
}

static inline u64 own_mm(void)
{
	return rover_read_u64(bpf_get_current_task() + ROVER_TASK_MM);
}

static inline u64 mix(u64 hash, u64 address)
{
	hash = (hash ^ address) * 0x9E3779B97F4A7C15ULL;
	return hash ^ (hash >> 29);
}

/* Begin a walk: its key, the kernel's frames, where the user's begin. */
static inline struct rover_walk *begin(void *ctx, struct rover_target *target, u32 tgid, u32 which)
{
	u32 slot = which - 1, first = 0;
	struct rover_walk *walk = walks.lookup(&slot);
	struct rover_control *now = control.lookup(&first);
	if (!walk || !now)
		return 0;

	/* a thread that ends has given its memory back: there is nothing to be read */
	u64 mm = own_mm();
	if (!target->mm)
		target->mm = mm;
	u32 known = !mm || target->mm == mm;

	walk->key.tgid = tgid;
	walk->key.target = which;
	walk->key.epoch = now->epoch;
	walk->key.generation = known ? target->generation : 0;
	walk->mappings = target->mappings;
	walk->amount = known ? target->amount : 0;
	walk->stack.count = 0;
	walk->stack.ns = 0;
	walk->stack.user = 0;
	walk->stack.kernel = 0;
	walk->stack.walk = ROVER_WALK_LOST;
	walk->leaf = 1;
	walk->interrupted = 0;
	walk->hash = 0;
	if (!known)
		target->news++;

	long size = bpf_get_stack(ctx, walk->stack.frames, ROVER_KERNEL_FRAMES * 8, 0);
	if (size > 0) {
		u32 frames = (u32)size / 8;
		u64 hash = 0;
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < ROVER_KERNEL_FRAMES; i++) {
			if (i >= frames)
				break;
			hash = mix(hash, walk->stack.frames[i]);
		}
		walk->stack.kernel = frames;
		walk->hash = mix(hash, frames);
	}
	return walk;
}

/* Enter the stack that was walked, or add to it. Returns whether it is kept. */
static inline u32 enter(struct rover_walk *walk, u64 count)
{
	walk->key.hash = mix(walk->hash, walk->stack.walk);
	struct rover_stack *known = stacks.lookup(&walk->key);
	if (!known) {
		walk->stack.count = count;
		if (!stacks.insert(&walk->key, &walk->stack))
			return 1;
		/* another CPU may have been first */
		known = stacks.lookup(&walk->key);
	}
	if (known) {
		__sync_fetch_and_add(&known->count, count);
		return 1;
	}
	sampled(ROVER_SAMPLED_LOST_STACK);
	return 0;
}

static inline int finish_on(struct rover_walk *walk)
{
	if (!enter(walk, 1)) {
		u32 tgid = walk->key.tgid;
		struct rover_target *target = targets.lookup(&tgid);
		if (target)
			__sync_fetch_and_add(&target->unkept_on, 1);
	}
	return 0;
}

static inline int finish_off(struct rover_walk *walk)
{
	struct rover_start start = {
		.at_ns = bpf_ktime_get_boot_ns(),
		.weight = walk->weight,
	};
	u32 tid = bpf_get_current_pid_tgid();
	start.kept = enter(walk, 0);
	start.stack = walk->key;
	if (starts.update(&tid, &start)) {
		u32 tgid = walk->key.tgid;
		struct rover_target *target = targets.lookup(&tgid);
		sampled(ROVER_SAMPLED_LOST_START);
		if (target)
			__sync_fetch_and_add(&target->unkept_off, walk->weight);
	}
	return 0;
}

#ifdef ROVER_UNWIND

static inline void keep(struct rover_walk *walk)
{
	u32 at = walk->stack.user;
	if (at < ROVER_USER_FRAMES) {
		walk->stack.frames[ROVER_KERNEL_FRAMES + at] = walk->ip;
		walk->stack.user = at + 1;
		walk->hash = mix(walk->hash, walk->ip);
	}
}

/* Read the user's registers; 0 where there is nothing to walk by them: it is no 64-bit process. */
static inline u32 registers(struct rover_walk *walk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	void *regs = (void *)bpf_task_pt_regs(task);
	if (!regs || rover_read_kernel(walk->regs, sizeof(walk->regs), regs))
		return 0;
	walk->ip = walk->regs[ROVER_REGS_RIP];
	walk->sp = walk->regs[ROVER_REGS_RSP];
	walk->bp = walk->regs[ROVER_REGS_RBP];
	return (walk->regs[ROVER_REGS_CS] & 0xffff) == ROVER_USER_CS_64;
}

/* Find the mapping that holds an address. */
static inline struct rover_mapping *mapping_of(struct rover_walk *walk, u64 address)
{
	u32 at = 0;
#pragma clang loop unroll(disable)
	for (u32 stride = ROVER_MAPPING_STRIDE; stride; stride >>= 1) {
		u32 next = at + stride;
		if (next < walk->amount) {
			u32 index = walk->mappings + next;
			struct rover_mapping *mapping = mappings.lookup(&index);
			if (mapping && mapping->start <= address)
				at = next;
		}
	}
	if (at >= walk->amount)
		return 0;
	u32 index = walk->mappings + at;
	struct rover_mapping *mapping = mappings.lookup(&index);
	if (!mapping || address < mapping->start || address >= mapping->end)
		return 0;
	return mapping;
}

/* Find the row for code of a file. */
static inline u64 row_of(struct rover_mapping *mapping, u64 address)
{
	u64 pc = address - mapping->bias;
	u32 at = 0, first = mapping->first, amount = mapping->rows;
	if (!amount || pc >> 32)
		return ROVER_RULE_FRAME;
#pragma clang loop unroll(disable)
	for (u32 stride = ROVER_ROW_STRIDE; stride; stride >>= 1) {
		u32 next = at + stride;
		if (next < amount) {
			u32 index = first + next;
			u64 *row = rows.lookup(&index);
			if (row && *row >> 32 <= pc)
				at = next;
		}
	}
	u32 index = first + at;
	u64 *row = rows.lookup(&index);
	return row && *row >> 32 <= pc ? *row : ROVER_RULE_FRAME;
}

static inline u64 user_word(u64 address)
{
	u64 value = 0;
	rover_read_user(&value, sizeof(value), (void *)address);
	return value;
}

/* What a register held in the frame where the walk is; 0 where that is not known. A callee may have
 * saved what it has to keep, and nobody else changes between here and the leaf what assembly counts
 * on. */
static inline u64 register_of(struct rover_walk *walk, u32 which)
{
	if (walk->interrupted || (which < ROVER_REGS_R11 && walk->stack.user > 1))
		return 0;
	return walk->regs[which & 15];
}

/* Keep the address where the walk is and go to its caller. Returns how the walk ended, 0 where it
 * goes on. */
static inline u32 step(struct rover_walk *walk)
{
	u64 ip = walk->ip, sp = walk->sp, bp = walk->bp;
	if (!ip)
		return ROVER_WALK_WHOLE;
	if (walk->stack.user >= ROVER_USER_FRAMES)
		return ROVER_WALK_LIMIT;
	u64 inside = walk->leaf ? ip : ip - 1;
	struct rover_mapping *mapping = mapping_of(walk, inside);
	/* what was taken for a caller is none, unless it is code that came after the last look */
	if (!mapping && walk->stack.user)
		return ROVER_WALK_LOST;
	keep(walk);
	walk->leaf = 0;

	u64 row = mapping ? row_of(mapping, inside) : ROVER_RULE_FRAME;
	u32 rule = row & 7;
	s64 words = (s64)(s32)((u32)row << 8) >> 11;
	s64 saved = (s64)(s32)(u32)row >> 24;
	u64 cfa, pair[2];

	if (rule == ROVER_RULE_RSP) {
		cfa = sp + words * 8;
	} else if (rule == ROVER_RULE_RBP) {
		cfa = bp + words * 8;
	} else if (rule == ROVER_RULE_FRAME) {
		/* the outermost frame of such code has none before it */
		if (!bp)
			return mapping ? ROVER_WALK_WHOLE : ROVER_WALK_LOST;
		cfa = bp + 16;
		saved = -2;
	} else if (rule == ROVER_RULE_REGISTER) {
		cfa = register_of(walk, words & ((1 << ROVER_REGISTER_BITS) - 1)) +
		      (words >> ROVER_REGISTER_BITS) * 8;
	} else if (rule != ROVER_RULE_SPECIAL) {
		cfa = user_word((rule == ROVER_RULE_AT_RSP ? sp : bp) + (words >> ROVER_AT_BITS) * 8) +
		      (words & ((1 << ROVER_AT_BITS) - 1)) * 8;
	} else if (words == ROVER_SPECIAL_END) {
		return ROVER_WALK_WHOLE;
	} else if (words == ROVER_SPECIAL_SIGNAL) {
		walk->ip = user_word(sp + ROVER_SIGNAL_RIP);
		walk->bp = user_word(sp + ROVER_SIGNAL_RBP);
		walk->sp = user_word(sp + ROVER_SIGNAL_RSP);
		walk->leaf = walk->interrupted = 1;
		return 0;
	} else if (words == ROVER_SPECIAL_MONT) {
		cfa = user_word(sp + 8 + register_of(walk, ROVER_REGS_R9) * 8) + 8;
	} else if (words == ROVER_SPECIAL_OTHER) {
		/* Go clears it where the other stack is left for good (mcall) */
		if (!bp)
			return ROVER_WALK_WHOLE;
		cfa = bp + 16;
		saved = -2;
		sp = 0;
	} else if (words >= ROVER_SPECIAL_RETURN) {
		walk->ip = register_of(walk, words - ROVER_SPECIAL_RETURN);
		return walk->ip ? 0 : ROVER_WALK_LOST;
	} else if (words >= ROVER_SPECIAL_PLT) {
		cfa = sp + 8 + ((s64)(ip & 15) >= words - ROVER_SPECIAL_PLT ? 8 : 0);
	} else {
		return ROVER_WALK_LOST;
	}
	/* stacks grow downwards; but a leaf may stand below the frame of a signal's own stack */
	if (cfa <= sp || rover_read_user(pair, sizeof(pair), (void *)(cfa - 16)))
		return ROVER_WALK_LOST;
	if (saved == -2)
		walk->bp = pair[0];
	else if (saved == ROVER_RBP_AT_RBP)
		walk->bp = user_word(bp);
	else if (saved == ROVER_RBP_LOST)
		walk->bp = 0;
	else if (saved != ROVER_RBP_KEPT)
		walk->bp = user_word(cfa + saved * 8);
	walk->sp = cfa;
	walk->ip = pair[1];
	return 0;
}

/* Walk some frames; returns whether the walk has ended. */
static inline u32 walk_on(struct rover_walk *walk)
{
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < ROVER_FRAMES_A_PROGRAM; i++) {
		u32 how = step(walk);
		if (how) {
			walk->stack.walk = how;
			return 1;
		}
	}
	return 0;
}

static inline void tell_news(struct rover_walk *walk)
{
	u32 tgid = walk->key.tgid;
	struct rover_target *target = targets.lookup(&tgid);
	if (target && walk->stack.walk == ROVER_WALK_LOST)
		target->news++;
}

int on_step(struct bpf_perf_event_data *ctx)
{
	u32 slot = ROVER_ON_CPU - 1;
	struct rover_walk *walk = walks.lookup(&slot);
	if (!walk)
		return 0;
	if (!walk_on(walk))
		on_steps.call(ctx, 0);
	tell_news(walk);
	return finish_on(walk);
}

int off_step(struct bpf_raw_tracepoint_args *ctx)
{
	u32 slot = ROVER_OFF_CPU - 1;
	struct rover_walk *walk = walks.lookup(&slot);
	if (!walk)
		return 0;
	if (!walk_on(walk))
		off_steps.call(ctx, 0);
	tell_news(walk);
	return finish_off(walk);
}

/* Tell whether there is a stack to walk. In a new address space the mappings of the former one say
 * nothing, and 32-bit code is not unwound: the leaf is all that is known. */
static inline u32 walkable(struct rover_walk *walk)
{
	walk->ip = 0;
	u32 readable = registers(walk) && own_mm();
	if (readable && walk->key.generation)
		return 1;
	if (walk->ip)
		keep(walk);
	return 0;
}

#else

/* By frame pointers, as the kernel does it. */
static inline void by_frame_pointers(struct rover_walk *walk, void *ctx)
{
	long size = bpf_get_stack(ctx, &walk->stack.frames[ROVER_KERNEL_FRAMES],
				  ROVER_USER_FRAMES * 8, ROVER_USER_STACK);
	if (size <= 0)
		return;
	u32 frames = (u32)size / 8;
	u64 hash = walk->hash;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < ROVER_USER_FRAMES; i++) {
		if (i >= frames)
			break;
		hash = mix(hash, walk->stack.frames[ROVER_KERNEL_FRAMES + i]);
	}
	walk->stack.user = frames;
	walk->hash = hash;
}

#endif

int on_cpu(struct bpf_perf_event_data *ctx)
{
	u32 tgid = rover_current_tgid();
	struct rover_target *target = targets.lookup(&tgid);
	if (!target || !(target->wanted & ROVER_ON_CPU))
		return 0;
	struct rover_walk *walk = begin(ctx, target, tgid, ROVER_ON_CPU);
	if (!walk)
		return 0;
	sampled(ROVER_SAMPLED_ON);
#ifdef ROVER_UNWIND
	if (walkable(walk))
		on_steps.call(ctx, 0);
#else
	by_frame_pointers(walk, ctx);
#endif
	return finish_on(walk);
}

/* Of a process that switches very often one switch of several is taken, by chance. */
static inline u32 weight_of(struct rover_target *target)
{
	u32 first = 0;
	struct rover_control *now = control.lookup(&first);
	u64 at = bpf_ktime_get_boot_ns();
	if (!now || !now->most_switches)
		return 1;
	if (at - target->window_ns > ROVER_WINDOW_NS) {
		u64 lasted = at - target->window_ns;
		u64 expected = (u64)target->switches * ROVER_WINDOW_NS / lasted;
		target->every = 1 + (u32)expected / now->most_switches;
		target->window_ns = at;
		target->switches = 0;
	}
	__sync_fetch_and_add(&target->switches, 1);
	u32 every = target->every;
	if (every <= 1)
		return 1;
	return bpf_get_prandom_u32() % every ? 0 : every;
}

static inline void end_wait(u32 tid)
{
	struct rover_start *start = starts.lookup(&tid);
	if (!start)
		return;
	u64 ns = (bpf_ktime_get_boot_ns() - start->at_ns) * start->weight;
	struct rover_stack_key key = start->stack;
	u32 weight = start->weight, kept = start->kept;
	struct rover_stack *stack = kept ? stacks.lookup(&key) : 0;
	if (stack) {
		__sync_fetch_and_add(&stack->count, weight);
		__sync_fetch_and_add(&stack->ns, ns);
	} else {
		u32 tgid = key.tgid;
		struct rover_target *target = targets.lookup(&tgid);
		if (target) {
			__sync_fetch_and_add(&target->unkept_off, weight);
			__sync_fetch_and_add(&target->unkept_ns, ns);
		}
	}
	starts.delete(&tid);
}

/* sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, ...) */
int off_cpu(struct bpf_raw_tracepoint_args *ctx)
{
	end_wait(rover_read_u32(ctx->args[2] + ROVER_TASK_PID));

	u32 tgid = rover_current_tgid();
	struct rover_target *target = targets.lookup(&tgid);
	if (!target || !(target->wanted & ROVER_OFF_CPU))
		return 0;
	/* a thread that ends does not come back */
	if (rover_read_u32(ctx->args[1] + ROVER_TASK_FLAGS) & ROVER_PF_EXITING)
		return 0;
	u32 weight = weight_of(target);
	if (!weight)
		return 0;
	struct rover_walk *walk = begin(ctx, target, tgid, ROVER_OFF_CPU);
	if (!walk)
		return 0;
	walk->weight = weight;
	sampled(ROVER_SAMPLED_OFF);
#ifdef ROVER_UNWIND
	if (walkable(walk))
		off_steps.call(ctx, 0);
#else
	by_frame_pointers(walk, ctx);
#endif
	return finish_off(walk);
}
