"""Archives for tests: right ones, and ones that nobody should unpack."""

import hashlib
import io
import lzma
import tarfile

import zstandard

MANIFEST = "artifact_manifest.txt"


def member(name, *, kind=tarfile.REGTYPE, mode=0o644, link="", mtime=1_700_000_000):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime = kind, mode, link, mtime
    return info


def tar_of(*members):
    """The bytes of a tar; members are (name, body) or TarInfos, or (TarInfo, body)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in members:
            info, body = each if isinstance(each, tuple) else (each, b"")
            info = member(info) if isinstance(info, str) else info
            if info.isreg():
                info.size = len(body)
            tar.addfile(info, io.BytesIO(body) if info.isreg() else None)
    return out.getvalue()


def compressed(body, extension):
    return lzma.compress(body) if extension == ".tar.xz" else zstandard.compress(body)


def archive(path, *members):
    """Write an archive; its SHA-256."""
    body = compressed(tar_of(*members), path.name[path.name.index(".tar") :])
    path.write_bytes(body)
    return hashlib.sha256(body).hexdigest()


def artifact(path, prefix="math-libs/BLAS/stage", files=(("lib/libblas.so", b"elf"),)):
    """Write an archive as a build makes them, manifest first; its SHA-256."""
    members = [(f"{prefix}/{name}", body) for name, body in files]
    return archive(path, (MANIFEST, f"{prefix}\n".encode()), *members)
