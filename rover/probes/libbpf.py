"""The few calls of libbpf that work maps and the ring buffer, through ctypes.

libbpf.so.1 comes with the distribution's BCC. Every function raises OSError with the kernel's
errno; signatures are those of libbpf 1.x (bpf/bpf.h and bpf/libbpf.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from rover.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBRARY: Final = "libbpf.so.1"

_SAMPLE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@cache
def library() -> ctypes.CDLL:
    """Load libbpf once and declare what is used of it.

    Raises:
        ProbeError: libbpf.so.1 is not installed.
    """
    try:
        lib = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise ProbeError(
            f"cannot load {LIBRARY}: {error}; install the distribution's libbpf1 "
            "(python3-bpfcc brings it)"
        ) from error
    number, pointer = ctypes.c_int, ctypes.c_void_p
    counted = ctypes.POINTER(ctypes.c_uint32)
    for name, result, arguments in (
        ("bpf_map_lookup_elem", number, (number, pointer, pointer)),
        ("bpf_map_update_elem", number, (number, pointer, pointer, ctypes.c_uint64)),
        ("bpf_map_delete_elem", number, (number, pointer)),
        (
            "bpf_map_lookup_batch",
            number,
            (number, pointer, pointer, pointer, pointer, counted, pointer),
        ),
        ("bpf_map_update_batch", number, (number, pointer, pointer, counted, pointer)),
        ("bpf_map_delete_batch", number, (number, pointer, counted, pointer)),
        ("bpf_raw_tracepoint_open", number, (ctypes.c_char_p, number)),
        ("bpf_obj_get_info_by_fd", number, (number, pointer, counted)),
        ("ring_buffer__new", pointer, (number, _SAMPLE, pointer, pointer)),
        ("ring_buffer__consume", number, (pointer,)),
        ("ring_buffer__epoll_fd", number, (pointer,)),
        ("ring_buffer__free", None, (pointer,)),
        ("libbpf_num_possible_cpus", number, ()),
    ):
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    # libbpf prints to standard error otherwise; what matters comes back as errno
    lib.libbpf_set_print(None)
    return lib


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or -result
        raise OSError(number, os.strerror(number))
    return result


def possible_cpus() -> int:
    """Return how many values a per-CPU map has for each key."""
    return _checked(library().libbpf_num_possible_cpus())


def lookup(descriptor: int, key: Any, value: Any) -> bool:  # noqa: ANN401 - any ctypes
    """Read one value into `value`; False where the key is not in the map."""
    try:
        _checked(library().bpf_map_lookup_elem(descriptor, ctypes.byref(key), ctypes.byref(value)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def update(descriptor: int, key: Any, value: Any) -> None:  # noqa: ANN401 - any ctypes
    """Write one value; OSError E2BIG where the map is full."""
    _checked(library().bpf_map_update_elem(descriptor, ctypes.byref(key), ctypes.byref(value), 0))


def delete(descriptor: int, key: Any) -> bool:  # noqa: ANN401 - any ctypes
    """Delete one key; False where it was not in the map."""
    try:
        _checked(library().bpf_map_delete_elem(descriptor, ctypes.byref(key)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def lookup_all(descriptor: int, keys: Any, values: Any) -> int:  # noqa: ANN401 - ctypes arrays
    """Read a hash map into two arrays of one length; return how many entries were read.

    Reads what fits the arrays. Entries that come and go meanwhile may be missed or seen once.
    """
    capacity = len(keys)
    position, count = ctypes.c_uint32(), ctypes.c_uint32()
    first, read = True, 0
    key_size, value_size = ctypes.sizeof(keys._type_), ctypes.sizeof(values._type_)
    while read < capacity:
        count.value = capacity - read
        result = library().bpf_map_lookup_batch(
            descriptor,
            None if first else ctypes.byref(position),
            ctypes.byref(position),
            ctypes.byref(keys, read * key_size),
            ctypes.byref(values, read * value_size),
            ctypes.byref(count),
            None,
        )
        if result < 0:
            number = ctypes.get_errno() or -result
            if number == errno.ENOENT:  # the end of the map; count is what came with it
                return read + count.value
            if number == errno.ENOSPC:  # the next bucket holds more than there is room for
                return read
            raise OSError(number, os.strerror(number))
        read += count.value
        first = False
    return read


def update_all(descriptor: int, keys: Any, values: Any, amount: int) -> int:  # noqa: ANN401
    """Write the first `amount` entries of two arrays; return how many the map had room for."""
    count = ctypes.c_uint32(amount)
    result = library().bpf_map_update_batch(
        descriptor, ctypes.byref(keys), ctypes.byref(values), ctypes.byref(count), None
    )
    if result < 0 and (ctypes.get_errno() or -result) != errno.E2BIG:
        number = ctypes.get_errno() or -result
        raise OSError(number, os.strerror(number))
    return count.value


def batches(descriptor: int, keys: Any, values: Any) -> Iterator[int]:  # noqa: ANN401
    """Read a hash map by parts into two arrays of one length; give how many entries each part has.

    A part is overwritten by the next. What another adds or removes meanwhile may be missed.
    """
    position, count = ctypes.c_uint32(), ctypes.c_uint32()
    first = True
    while True:
        count.value = len(keys)
        result = library().bpf_map_lookup_batch(
            descriptor,
            None if first else ctypes.byref(position),
            ctypes.byref(position),
            ctypes.byref(keys),
            ctypes.byref(values),
            ctypes.byref(count),
            None,
        )
        number = (ctypes.get_errno() or -result) if result < 0 else 0
        if number not in {0, errno.ENOENT}:
            raise OSError(number, os.strerror(number))
        if count.value:
            yield count.value
        if number:
            return
        first = False


def delete_all(descriptor: int, keys: Any, amount: int) -> None:  # noqa: ANN401
    """Delete the first `amount` keys of an array; those that are not in the map are passed over."""
    done = 0
    size = ctypes.sizeof(keys._type_)
    while done < amount:
        count = ctypes.c_uint32(amount - done)
        result = library().bpf_map_delete_batch(
            descriptor, ctypes.byref(keys, done * size), ctypes.byref(count), None
        )
        number = (ctypes.get_errno() or -result) if result < 0 else 0
        if number not in {0, errno.ENOENT}:
            raise OSError(number, os.strerror(number))
        done += count.value + (1 if number else 0)


def attach_raw(program: int, tracepoint: str) -> int:
    """Attach a program to a raw tracepoint for as long as the descriptor returned is open."""
    return _checked(library().bpf_raw_tracepoint_open(tracepoint.encode(), program))


class _ProgramInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info, to its field of Linux 5.12; older kernels leave 0."""

    _fields_ = (("before", ctypes.c_char * 208), ("recursion_misses", ctypes.c_uint64))


def recursion_misses(program: int) -> int:
    """Return how often the kernel has not run a program because one was running on that CPU."""
    info, size = _ProgramInfo(), ctypes.c_uint32(ctypes.sizeof(_ProgramInfo))
    _checked(library().bpf_obj_get_info_by_fd(program, ctypes.byref(info), ctypes.byref(size)))
    return int(info.recursion_misses)


class RingBuffer:
    """A ring buffer map, read by copying each sample out.

    Not thread-safe: one thread consumes.
    """

    def __init__(self, descriptor: int, sample_size: int) -> None:
        """Map the buffer of the map `descriptor`, whose samples are `sample_size` bytes."""
        self._samples: list[bytes] = []
        # kept here: libbpf holds a bare pointer to it
        self._callback = _SAMPLE(self._copy(self._samples.append, sample_size))
        self._ring = library().ring_buffer__new(descriptor, self._callback, None, None)
        if not self._ring:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    @staticmethod
    def _copy(
        keep: Callable[[bytes], None], sample_size: int
    ) -> Callable[[int | None, int, int], int]:
        # an exception here would be printed and lost, so this does nothing that can raise
        def copy(_context: int | None, sample: int, size: int) -> int:
            if size >= sample_size:
                keep(ctypes.string_at(sample, sample_size))
            return 0

        return copy

    def fileno(self) -> int:
        """Return a descriptor that is readable while samples wait."""
        return int(library().ring_buffer__epoll_fd(self._ring))

    def consume(self) -> list[bytes]:
        """Return all samples that wait, oldest first."""
        _checked(library().ring_buffer__consume(self._ring))
        samples = self._samples.copy()
        self._samples.clear()
        return samples

    def close(self) -> None:
        """Unmap the buffer; the map itself lives as long as its descriptor."""
        ring, self._ring = self._ring, None
        if ring:
            library().ring_buffer__free(ring)
