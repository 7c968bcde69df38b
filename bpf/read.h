/* What lies at an address of the kernel's memory; 0 where nothing does. */
#ifndef ROVER_READ_H
#define ROVER_READ_H

static inline u32 rover_read_u32(u64 address)
{
	u32 value = 0;
	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

static inline u64 rover_read_u64(u64 address)
{
	u64 value = 0;
	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

#endif
