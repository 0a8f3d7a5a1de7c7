"""Floor 2, kernel. libnftables in this process: one kept context, text in, text out.

Rules of this room:

1. One buffer of text is one transaction: all of it or nothing.
2. For structure only. libnftables reads every interval set of the whole host before it touches an element, so members go
   through `elements` (one added element beside a foreign set of 100 000 ranges: 0.5 s here, 30 us there).
3. The library is loaded when it is first needed: without it, members can still be restored.

The functions are those of nftables/libnftables.h, stable since libnftables.so.1.
"""

import ctypes
import errno
import os
import re

from agent.errors import KernelError
from agent.kernel.netlink import MENDS

LIBRARY = "libnftables.so.1"


class Libnftables:
    """One context of the library, bound to the network namespace of the thread that made it."""

    def __init__(self, library: str = LIBRARY) -> None:
        """Load the library and make a context.

        Args:
            library: file name, looked up as the dynamic linker does.

        Raises:
            KernelError: the library is missing (ELIBACC) or can not start.
        """
        try:
            lib = ctypes.CDLL(library)
        except OSError as error:
            raise KernelError(errno=errno.ELIBACC, what=f"{library} can not be loaded ({error})", mend=_INSTALL) from None
        lib.nft_ctx_new.restype = ctypes.c_void_p
        lib.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        lib.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._lib = lib
        self._context = ctypes.c_void_p(lib.nft_ctx_new(0))
        if not self._context.value or lib.nft_ctx_buffer_output(self._context) or lib.nft_ctx_buffer_error(self._context):
            raise KernelError(errno=errno.ENOMEM, what="libnftables does not start", mend=_INSTALL)

    def run(self, text: str, *, dry: bool = False) -> str:
        """Run commands as one transaction.

        Args:
            text: in nft's language.
            dry: let the kernel check everything, change nothing.

        Returns:
            What the commands print; empty for changes.

        Raises:
            KernelError: with the kernel's errno (EINVAL for text that nft does not understand) and the first error line.
        """
        self._lib.nft_ctx_set_dry_run(self._context, ctypes.c_bool(dry))
        # Every call hands out and empties the buffers of the call before; both must be fetched each time.
        code = self._lib.nft_run_cmd_from_buffer(self._context, text.encode())
        output = (self._lib.nft_ctx_get_output_buffer(self._context) or b"").decode(errors="backslashreplace")
        errors = (self._lib.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="backslashreplace")
        if code != 0:
            lines = [line.strip() for line in errors.splitlines() if line.strip()]
            first = next((line for line in lines if "Error:" in line), lines[0] if lines else "no reason given")
            number = next((found for line in lines if (found := _errno_of(line))), errno.EINVAL)
            place = first.partition("Error: ")[2] or first
            raise _explain(number, place)
        return output

    def close(self) -> None:
        """Free the context."""
        if self._context.value:
            self._lib.nft_ctx_free(self._context)
            self._context = ctypes.c_void_p(None)


_INSTALL = "Install it: apt install libnftables1"
_ERRNO_BY_TEXT = {os.strerror(number): number for number in errno.errorcode}


def _errno_of(line: str) -> int | None:
    """The library gives no errno, only its text at the end of the line."""
    found = re.search(r": ([^:]+)$", line)
    return _ERRNO_BY_TEXT.get(found.group(1).strip()) if found else None


def _explain(number: int, line: str) -> KernelError:
    # Here EINVAL is text that this nft does not understand.
    mend = "ecluse needs nftables 1.0.6 or newer" if number == errno.EINVAL else MENDS.get(number, "")
    return KernelError(errno=number, what=f"nftables refused the ruleset: {line}", mend=mend)
