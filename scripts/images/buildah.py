"""Images made and run by buildah in a chroot: no container engine, no daemon, no registry."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = "localhost/debian-minbase"
PREFIX = "localhost/ner-annotation-loop"
# What the slim images of Debian leave out, too.
_NOT_IN_A_SLIM_IMAGE = (
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
_CERTIFICATES = "/run/certificates.crt"


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own in `work`."""

    work: Path
    driver: str = "overlay"

    def words(self, *words: str) -> list[str]:
        """The command line of one call."""
        places = ["--root", str(self.work / "storage"), "--runroot", str(self.work / "runroot")]
        return ["buildah", *places, "--storage-driver", self.driver, *words]

    def call(self, *words: str) -> str:
        """Run one command; what it prints. Raises CalledProcessError."""
        return subprocess.run(self.words(*words), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def has(self, image: str) -> bool:
        """Whether the image is there."""
        return subprocess.run(self.words("inspect", "--type", "image", image), capture_output=True).returncode == 0

    def make_base(self) -> None:
        """Import a Debian 12 that debootstrap made, as small as the slim image of a registry."""
        folder = self.work / "base"
        if not (folder / "usr" / "bin" / "dpkg").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run(
                ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(folder)],
                check=True,
            )
        for name in _NOT_IN_A_SLIM_IMAGE:
            for path in (folder / name).iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        container = self.call("from", "scratch")
        self.call("add", "--quiet", container, str(folder), "/")
        self.call("commit", "--quiet", "--rm", container, BASE)

    def build(self, target: str) -> None:
        """Build a target of the Dockerfile with this machine's own configuration of pip."""
        words = ["bud", "--isolation", "chroot", "--layers", "--build-arg", f"BASE={BASE}", "--target", target]
        subprocess.run(self.words(*words, *self._pip_volumes(), "--tag", f"{PREFIX}/{target}", str(ROOT)), check=True)

    def container(self, target: str) -> str:
        """A container of the target, made when it is missing."""
        known = json.loads(self.call("containers", "--json") or "null") or []
        name = f"check-{target}"
        if name in [one["containername"] for one in known]:
            self.call("rm", name)
        return self.call("from", "--name", name, f"{PREFIX}/{target}")

    def run(self, container: str, *words: str, options: Sequence[str] = ()) -> str:
        """Run a command in a container; what it prints."""
        return self.call("run", "--isolation", "chroot", *options, container, "--", *words)

    def size(self, target: str) -> int:
        """Bytes of an image, all its layers."""
        answer = json.loads(self.call("images", "--json", f"{PREFIX}/{target}"))
        number, unit = re.fullmatch(r"([\d.]+) ?(\w+)", str(answer[0]["size"])).groups()  # type: ignore[union-attr]
        return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit.upper()])

    def config(self, target: str) -> Mapping[str, object]:
        """What the image says of its user, command and variables."""
        found = json.loads(self.call("inspect", "--type", "image", f"{PREFIX}/{target}"))
        return dict(found["OCIv1"]["config"])

    def _pip_volumes(self) -> list[str]:
        """Options that mount pip's configuration, and every folder and file of this machine that it names."""
        listed = subprocess.run(["pip", "config", "list"], check=True, stdout=subprocess.PIPE, text=True).stdout
        pairs = [line.partition("=")[::2] for line in listed.splitlines()]
        values = {name.rpartition(".")[2]: value.strip("'\"") for name, value in pairs}
        words = {word for name, value in values.items() if name != "cert" for word in value.split()}
        # An index on this disk names its files relative to itself: "../../files/...".
        indexes = {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file://")}
        places = indexes | {Path(word) for word in words if word.startswith("/")}
        options = [f"--volume={place}:{place}:ro" for place in sorted(places) if place.exists()]
        if values.get("cert"):
            options.append(f"--volume={values['cert']}:{_CERTIFICATES}:ro")
            values["cert"] = _CERTIFICATES
        written = self.work / "pip.conf"
        written.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()), "utf-8")
        return [*options, f"--volume={written}:/etc/pip.conf:ro"]
