"""The folder of compiled updates.  Their libraries are loaded and run, so nobody else may be able to write there.

torch's own choice is a folder with a guessable name in the system's temporary directory; it names that in the
environment when its compiler is first imported.  `claim` comes before: it runs when fastsac is imported, and therefore
imports neither torch nor anything else that takes time.
"""

import errno
import os
import stat
import time

CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"
TRITON_DIR = "TRITON_CACHE_DIR"
REMEDY = f"Set {CACHE_DIR} to a folder of your own, or give --compile off."

_unusable: str | None = None  # a folder that was named in the environment, and cannot be made


def claim() -> None:
    """Name the folder to torch, after making it where there is none.

    One that cannot be made is not named: torch would make it, and fail, where its compiler is imported, which eager
    runs do, too.  Nothing is compiled then (see `check`).
    """
    global _unusable
    path = folder()
    try:
        _make(path)
    except OSError:
        _unusable = path
        os.environ.pop(CACHE_DIR, None)
    else:
        os.environ[CACHE_DIR] = path
    # Triton's is below it unless the environment says otherwise.
    if _is_torchs(os.path.dirname(os.path.dirname(os.environ.get(TRITON_DIR, "")))):
        del os.environ[TRITON_DIR]


def folder() -> str:
    """TORCHINDUCTOR_CACHE_DIR unless torch has chosen it, or fastsac/inductor in the user's cache."""
    given = os.environ.get(CACHE_DIR, "")
    if given and not _is_torchs(given):
        return os.path.abspath(given)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    cache = cache if os.path.isabs(cache) else os.path.join(os.path.expanduser("~"), ".cache")
    return _unusable or os.path.join(cache, "fastsac", "inductor")


def check() -> None:
    """Refuse to compile where others could exchange the libraries, or nothing can be written.

    Raises:
        ValueError: which folder, and what is wrong with it.
    """
    claim()
    path = folder()
    try:
        _make(path)
        owners = {os.lstat(path).st_uid, os.stat(path).st_uid}  # of a link, too
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise ValueError(f"compile cache {path} cannot be made: {error.strerror}. {REMEDY}") from error
    if others := owners - {os.geteuid()}:
        raise ValueError(f"compile cache {path} must be your own folder, got one of user {others.pop()}. {REMEDY}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        remedy = f"Run chmod go-w {path}, or set {CACHE_DIR} to another folder."
        raise ValueError(f"compile cache {path} must be writable by nobody else, got mode {mode:o}. {remedy}")
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise ValueError(f"compile cache {path} cannot be written to. {REMEDY}")


def remove_broken(older_than_s: float) -> list[str]:
    """Remove libraries that the linker did not finish, as where Ctrl-C has met it too: torch would load them forever.

    Args:
        older_than_s: leave younger ones, which another process may be about to finish.

    Returns:
        Their paths.
    """
    latest, broken = time.time() - older_than_s, []
    for place, _, names in os.walk(folder()):
        for path in (os.path.join(place, name) for name in names if name.endswith(".so")):
            try:
                if os.path.getmtime(path) <= latest and not _is_whole(path):
                    os.remove(path)
                    broken.append(path)
            except OSError:  # another process removes it too
                continue
    return broken


def _is_whole(path: str) -> bool:
    """Whether a library, in ELF of 64 bits, has the table of its sections, which linkers write at the end."""
    with open(path, "rb") as file:
        header = file.read(64)
    if len(header) < 64:
        return False
    start, size, count = (int.from_bytes(header[a:b], "little") for a, b in ((40, 48), (58, 60), (60, 62)))
    return header[:4] != b"\x7fELF" or os.path.getsize(path) >= start + size * count > 0


def move_headers() -> None:
    """Keep precompiled headers in the folder, too; call it when torch's code cache is imported, before it compiles.

    torch decides where they are on that import, by a private name and whatever the environment says.  A torch without
    that name compiles without them, seconds slower.
    """
    from torch._inductor import codecache, config

    where = os.path.join(folder(), "precompiled_headers")
    if not hasattr(codecache, "_HEADER_DIR"):
        config.cpp_cache_precompile_headers = False
    elif where != codecache._HEADER_DIR:
        codecache._HEADER_DIR = where
        codecache._HEADER_LOCK_DIR = os.path.join(where, "locks")
        codecache._precompile_header.cache_clear()  # of the folder before


def _make(path: str) -> None:
    """Make a folder and those above it, for this user alone, where they are missing."""
    if not os.path.isabs(path):  # there is no home
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if not os.path.lexists(path):
        _make(os.path.dirname(path))
        try:  # noqa: SIM105 - contextlib takes time to import
            os.mkdir(path, 0o700)
        except FileExistsError:  # another process was faster; `check` looks at what it made
            pass
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _is_torchs(path: str) -> bool:
    """Whether torch has chosen a folder, here or in a process that started this one."""
    if not os.path.basename(path).startswith("torchinductor_"):
        return False
    # As `tempfile` goes about it, which imports what may lie in the working directory.
    places = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")] + ["/tmp", "/var/tmp", "/usr/tmp"]
    return os.path.dirname(os.path.abspath(path)) in [os.path.abspath(place) for place in places if place]
