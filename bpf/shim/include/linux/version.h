/* The loader passes the running kernel's version as LINUX_VERSION_CODE. */
#ifndef ROVER_SHIM_VERSION_H
#define ROVER_SHIM_VERSION_H
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#endif
