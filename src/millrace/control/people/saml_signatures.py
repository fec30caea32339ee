"""The program `xmlsec1`, as `pysaml2` runs it, but with an end in time and a few at once."""

from __future__ import annotations

import subprocess
import threading
from tempfile import NamedTemporaryFile

from saml2.sigver import CryptoBackendXmlSec1, XmlsecError

from millrace.control.people.vouching import refused

TIMEOUT_S = 5.0
_AT_ONCE = threading.BoundedSemaphore(2)


class Signatures(CryptoBackendXmlSec1):
    """Raises AuthError "sign_on" for a signature that takes too long, so that no other certificate is tried.

    `pysaml2` has no setting for that, so its method that waits for ever is replaced. A test has a program that hangs.
    """

    def _run_xmlsec(self, com_list: list[str], extra_args: list[str]) -> tuple[str, str, bytes]:
        with NamedTemporaryFile(suffix=".xml") as output:
            lax = ["--lax-key-search"] if tuple(self.version_nums) >= (1, 3) else []
            command = [*com_list, "--output", output.name, *lax, *extra_args]
            if not _AT_ONCE.acquire(timeout=TIMEOUT_S):
                raise refused("too many people come in at once")
            try:
                done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S)  # noqa: S603 - no shell
            except subprocess.TimeoutExpired:
                raise refused("it takes too long to look at the signature of the provider's answer") from None
            finally:
                _AT_ONCE.release()
            if done.returncode:
                raise XmlsecError(f"it ended with {done.returncode}")
            return done.stdout.decode(), done.stderr.decode(), output.read()
