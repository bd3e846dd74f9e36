"""A private network of namespaces: a bridge, and members that each have an address of their own.

Nothing outside the network can be reached from it, and nothing outside reaches its members. The kernel removes the
network with the processes that hold its namespaces. All of this needs root.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of setns(2)
_SUBNET = "10.89.0"
_libc = ctypes.CDLL(None, use_errno=True)


class NoNamespacesError(RuntimeError):
    """This machine refuses what the tests of the topology need."""


@dataclass(frozen=True)
class Member:
    """A namespace with one address. `holder` is the pid of the process that keeps the namespace."""

    address: str
    holder: int

    @property
    def namespace(self) -> str:
        return f"/proc/{self.holder}/ns/net"


@dataclass
class Network:
    """Open it with `with`; its namespaces go with it."""

    _holders: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Network:
        try:
            bridge = self._hold()
            _ip(bridge, "link", "add", "bridge0", "type", "bridge")
            _ip(bridge, "address", "add", f"{_SUBNET}.1/24", "dev", "bridge0")
            _ip(bridge, "link", "set", "bridge0", "up")
        except (OSError, subprocess.SubprocessError) as error:
            self.close()
            said = getattr(error, "stderr", b"") or b""
            raise NoNamespacesError(
                "The topology needs root, and a kernel with network namespaces, bridges and veth pairs: "
                f"{error} {said.decode('utf-8', 'replace').strip()}"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every namespace."""
        for holder in reversed(self._holders):
            holder.kill()
            holder.wait()
        self._holders.clear()

    def member(self) -> Member:
        """A new namespace with the next address."""
        with self._lock:
            holder, number = self._hold(), len(self._holders)
        bridge, address = self._holders[0].pid, f"{_SUBNET}.{number}"
        veth = f"veth{number}"
        _ip(bridge, "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", str(holder))
        _ip(bridge, "link", "set", veth, "master", "bridge0", "up")
        _ip(holder, "address", "add", f"{address}/24", "dev", "eth0")
        _ip(holder, "link", "set", "eth0", "up")
        return Member(address, holder)

    @contextmanager
    def here(self) -> Iterator[None]:
        """The sockets that the calling thread opens meanwhile are in the network."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/proc/{self._holders[0].pid}/ns/net", os.O_RDONLY)
        try:
            _enter(inside)
            yield
        finally:
            _enter(before)
            os.close(before)
            os.close(inside)

    def _hold(self) -> int:
        """A process that does nothing but keep a new network namespace; its pid."""
        words = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"]
        holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self._holders.append(holder)
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != b"ready\n":
            raise subprocess.CalledProcessError(holder.wait(), words, stderr=holder.stderr.read())
        return holder.pid


def _ip(holder: int, *words: str) -> None:
    command = ["nsenter", f"--net=/proc/{holder}/ns/net", "ip", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns(2) was refused")
