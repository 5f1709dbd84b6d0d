"""Asks each server named on the command line, as NAME=URL, whether it is ready. Exit 1 where one is not, with why.

TCP alone is tried for tcp://; certificates are not checked, since who signed them is not known here: nothing is sent.
"""

import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

PATIENCE_SECONDS = 120


def ask(url: str) -> str:
    """What is wrong; empty where nothing is."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "tcp":
            socket.create_connection((parts.hostname, parts.port), timeout=5).close()
            return ""
        unchecked = ssl._create_unverified_context()
        with urllib.request.urlopen(url, timeout=5, context=unchecked):
            return ""
    except socket.gaierror:
        return "the name has no address: no pod is there; does a node match its affinity and nodeSelector?"
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read(2000).decode(errors='replace').strip()}"
    except OSError as error:
        if isinstance(getattr(error, "reason", None), socket.gaierror):
            return "the name has no address: no pod is there; does a node match its affinity and nodeSelector?"
        return f"no answer: {error}"


failed = False
until = time.monotonic() + PATIENCE_SECONDS
for name, _, url in (word.partition("=") for word in sys.argv[1:]):
    problem = ask(url)
    while problem and time.monotonic() < until:
        time.sleep(2)
        problem = ask(url)
    print(f"{name}: {problem or 'ready'} ({url})", flush=True)
    failed = failed or bool(problem)
sys.exit(failed)
