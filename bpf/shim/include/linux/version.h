/* The loader passes the running kernel's version; BCC writes it into each object, and only kprobe
 * programs of old kernels are held to it. */
#ifndef ROVER_SHIM_VERSION_H
#define ROVER_SHIM_VERSION_H
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#ifdef ROVER_KERNEL_VERSION
#define LINUX_VERSION_CODE ROVER_KERNEL_VERSION
#else
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
#endif
#endif
