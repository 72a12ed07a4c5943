"""A TIFF writer that writes anything, tag by tag, and OME-XML that tells anything."""

import struct

import numpy as np

__all__ = ["FRAMES", "ome", "ome_text", "packed", "plain", "tags_of", "told", "write_raw"]

FRAMES = np.random.default_rng(2).integers(0, 60000, (23, 12, 17)).astype(np.uint16)
SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 7: "B", 16: "Q"}


def tags_of(frame, bits=None, **more):
    """The tags of a page; names of `more` are ``t`` and the code, values (type, values)."""
    kind = {"u": 1, "i": 2, "f": 3}[frame.dtype.kind]
    own = {
        256: (4, [frame.shape[1]]),
        257: (4, [frame.shape[0]]),
        258: (3, [bits or frame.dtype.itemsize * 8]),
        259: (3, [1]),
        262: (3, [1]),
        277: (3, [1]),
        278: (4, [frame.shape[0]]),
        339: (3, [kind]),
    }
    return own | {int(name[1:]): value for name, value in more.items()}


def write_raw(path, pages, *, order="<", big=False, head=b"", spacing=0):
    """Write (tags, bytes) as pages: directory, data at once behind it, then long values.

    Gives the offset of every directory. Tags 273 and 279 are filled in unless given.
    """
    count, number, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    kind = 16 if big else 4
    start = struct.pack(
        order + ("2sHHH" if big else "2sH"),
        *(
            (b"II" if order == "<" else b"MM", 43, 8, 0)
            if big
            else (b"II" if order == "<" else b"MM", 42)
        ),
    )
    at = len(start) + struct.calcsize(order + number) + len(head)
    out = [start, struct.pack(order + number, at), head]
    offsets = []
    for index, (tags, data) in enumerate(pages):
        offsets.append(at)
        size = (
            struct.calcsize(order + count)
            + (len(tags) + len({273, 279} - set(tags))) * (20 if big else 12)
            + struct.calcsize(order + number)
        )
        full = {273: (kind, [at + size]), 279: (kind, [len(data)])} | tags
        entries, behind = [], b""
        for code in sorted(full):
            form, values = full[code]
            raw = (
                bytes(values)
                if isinstance(values, bytes)
                else struct.pack(
                    order + "".join(SIZES[form] for _ in range(len(values) // len(SIZES[form]))),
                    *values,
                )
            )
            length = len(raw) // struct.calcsize("<" + SIZES[form])
            if len(raw) > inline:
                field = struct.pack(order + number, at + size + len(data) + len(behind))
                behind += raw
            else:
                field = raw.ljust(inline, b"\xaa")  # rubbish behind short values is allowed
            entries.append(struct.pack(order + "HH" + number, code, form, length) + field)
        following = at + size + len(data) + len(behind) + spacing if index + 1 < len(pages) else 0
        out += [struct.pack(order + count, len(full)), *entries]
        out += [struct.pack(order + number, following), data, behind, bytes(spacing)]
        at += size + len(data) + len(behind) + spacing
    path.write_bytes(b"".join(out))
    return offsets


def plain(path, frames=FRAMES, **keywords):
    """Plain pages in any byte order."""
    order = keywords.get("order", "<")
    pages = [(tags_of(f), f.astype(f.dtype.newbyteorder(order)).tobytes()) for f in frames]
    return write_raw(path, pages, **keywords)


def packed(frame):
    """12 bits a sample, each row filled up to whole bytes."""
    rows = np.unpackbits(frame.astype(">u2").view("u1").reshape(*frame.shape, 2), axis=-1)
    return np.packbits(rows[..., 4:].reshape(len(frame), -1), axis=-1).tobytes()


def ome_text(pixels, *, uuid="urn:uuid:1", extra=""):
    images = "".join(
        f'<Image ID="Image:{n}"><Pixels ID="Pixels:{n}" {told}>'
        f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{data}</Pixels></Image>'
        for n, (told, data) in enumerate(pixels)
    )
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="{uuid}">{images}{extra}</OME>'
    )


def told(shape=(23, 1, 1, 12, 17), order="XYCZT", kind="uint16"):
    sizes = dict(zip("TZCYX", shape, strict=True))
    lengths = " ".join(f'Size{letter}="{sizes[letter]}"' for letter in sizes)
    return f'DimensionOrder="{order}" Type="{kind}" {lengths}'


def ome(path, pages, text, **keywords):
    bare = [(tags_of(page), np.ascontiguousarray(page).tobytes()) for page in pages]
    if text is not None:
        bare[0][0][270] = (2, text.encode() + b"\0")
    write_raw(path, bare, **keywords)
