/* Named by BCC's headers; nothing here depends on the true page size. */
#ifndef ROVER_SHIM_PAGE_H
#define ROVER_SHIM_PAGE_H
#define PAGE_SIZE 4096
#endif
