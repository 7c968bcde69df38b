"""The agent on the machines that people have: Debian's releases and kernels, booted by QEMU."""
