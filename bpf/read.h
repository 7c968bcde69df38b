/* What lies at an address of the kernel's memory; 0 where nothing does. */
#ifndef ROVER_READ_H
#define ROVER_READ_H

/* By their numbers: where BCC is kept from the kernel's symbols (rover/probes/without_proc.py), it makes
 * of the names another helper, which on small addresses reads the process's own memory. */
static long (*rover_read_kernel)(void *to, u32 bytes, const void *from) = (void *)BPF_FUNC_probe_read_kernel;
static long (*rover_read_user)(void *to, u32 bytes, const void *from) = (void *)BPF_FUNC_probe_read_user;

static inline u32 rover_read_u32(u64 address)
{
	u32 value = 0;
	rover_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

static inline u64 rover_read_u64(u64 address)
{
	u64 value = 0;
	rover_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

#endif
