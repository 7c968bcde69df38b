/* The only switch that the programs' headers look at. */
#ifndef ROVER_SHIM_KCONFIG_H
#define ROVER_SHIM_KCONFIG_H
#define CONFIG_BPF_SYSCALL 1
#endif
