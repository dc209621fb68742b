"""What a camera is: its name and where its pictures come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hhvad.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SCHEMES = ("rtsp", "rtsps", "http", "https")


@dataclass(frozen=True)
class Source:
    """A camera. address: a URL, or the path of a file or folder; it may hold a password."""

    camera: str
    address: str

    @property
    def is_live(self) -> bool:
        """Whether its pictures come as they are taken."""
        return "://" in self.address

    @property
    def is_endless(self) -> bool:
        """Whether more may come after it has ended."""
        return self.is_live or Path(self.address).is_dir()

    @property
    def shown(self) -> str:
        """The address without what may be secret: user, password, query."""
        if not self.is_live:
            return self.address
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    def hidden(self, text: str) -> str:
        """A text about this source without what may be secret in it."""
        clean = text.replace(self.address, self.shown)
        if self.is_live:
            parts = urlsplit(self.address)
            secrets = [parts.password, parts.query, parts.netloc.rpartition("@")[0]]
            for secret in filter(None, secrets):
                clean = clean.replace(secret, "***")
        return clean


def parse(text: str) -> Source:
    """The camera of `NAME=ADDRESS` or `NAME=@FILE`, whose first line is the address.

    Raises ConfigError, which never shows an address of a URL.
    """
    name, equals, address = text.partition("=")
    if not equals or not NAME.fullmatch(name):
        raise ConfigError(
            "--camera: give NAME=URL, NAME=PATH or NAME=@FILE; a name has letters, digits, dots, "
            "dashes and underscores"
        )
    if address.startswith("@"):
        try:
            lines = Path(address[1:]).read_text("utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--camera {name}={address}: cannot be read ({error})") from None
        if len(lines) != 1:
            raise ConfigError(f"--camera {name}={address}: the file must hold one address")
        address = lines[0]
    source = Source(name, address)
    if source.is_live:
        try:
            parts = urlsplit(address)
            known = parts.scheme in SCHEMES and parts.hostname
            _ = parts.port
        except ValueError:
            known = None
        if not known:
            raise ConfigError(
                f"--camera {name}: the address is not one of {', '.join(SCHEMES)} with a host"
            )
    elif not Path(address).exists():
        raise ConfigError(f"--camera {name}={address}: there is no such file or folder")
    return source


def parse_all(texts: list[str]) -> list[Source]:
    """The cameras of several. Raises ConfigError where two have the same name."""
    sources = [parse(text) for text in texts]
    names = [source.camera.lower() for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--camera {name}: this name is given twice")
    return sources


def password_in(text: str) -> bool:
    """Whether `NAME=URL` shows a password to whoever lists processes."""
    _, _, address = text.partition("=")
    return "://" in address and "@" in urlsplit(address).netloc
